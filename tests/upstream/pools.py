"""Pools in an internet in memory, for the tests of how they choose, lose and find connections."""

from contextlib import asynccontextmanager

import trio
from trio.testing import wait_all_tasks_blocked

from stubresolver.errors import UpstreamError
from stubresolver.upstream import Pool, UpstreamOptions
from stubresolver.upstream.diagnosis import Diagnosis, Kind

REFUSED = ConnectionRefusedError(111, "refused")


def message(number: int, text: bytes = b"") -> bytes:
    return number.to_bytes(2, "big") + bytes(10) + text


def echo(wire):
    return wire


def silent(_wire):
    return None


async def never(transport):
    """A host that takes the connection and never says anything."""
    await trio.sleep_forever()
    await transport.aclose()


async def hang_up(server):
    """A server that closes when it is asked."""
    await server.receive()
    server.machine.close()
    await server.flush()
    await server.transport.aclose()


@asynccontextmanager
async def running(internet, demands, handlers, *, providers=None, explain=lambda: Diagnosis(Kind.FINE), **options):
    """A running pool over these upstreams in this order; its events in `pool.events`."""
    addresses = [upstream.address for upstream in handlers]
    for upstream, handler in handlers.items():
        shared = addresses.count(upstream.address) > 1
        internet.handlers[str(upstream if shared else upstream.address)] = handler
    events = []
    demanded = demands if isinstance(demands, dict) else dict.fromkeys(handlers, demands)
    pool = Pool(demanded, UpstreamOptions(**options), events.append, providers=providers, explain=explain)
    pool.events = events
    async with trio.open_nursery() as internet.nursery:
        async with trio.open_nursery() as nursery:
            await nursery.start(pool.run)
            yield pool
            nursery.cancel_scope.cancel()
        assert all(line.channel is None or line.channel.ended is not None for line in pool._lines)
        await wait_all_tasks_blocked()
        internet.nursery.cancel_scope.cancel()


async def exchanged(pool, query):
    """The answer to a query, or its error raised."""
    results = []
    arrived = trio.Event()

    def reply(result):
        results.append(result)
        arrived.set()

    pool.exchange_soon(query, reply)
    await arrived.wait()
    [result] = results
    if isinstance(result, UpstreamError):
        raise result
    return result


def states(pool):
    return [line.state for line in pool.statistics().upstreams]
