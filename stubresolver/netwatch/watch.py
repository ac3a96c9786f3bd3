"""All that can change around us, told in one place: a resume, another network, a clock that was set."""

from collections.abc import Callable, Sequence

import trio

from stubresolver.netwatch.change import Change, Kind, Network
from stubresolver.netwatch.monitor import Address, Monitor, open_events
from stubresolver.netwatch.timer import Clocks, watch_clocks


async def watch(
    changed: Callable[[Change], None], targets: Sequence[Address], clocks: Clocks, report: Callable[[str], None]
) -> None:
    """Call `changed` at each change, and with the network at the start, until cancelled.

    `targets` are the addresses whose reachability matters. What cannot be watched is told to `report`.
    """
    network = Network()

    def moved(found: Network) -> None:
        nonlocal network
        network = found
        changed(Change(Kind.NETWORK, found.key, found.reachable))

    def happened(kind: Kind) -> None:
        changed(Change(kind, network.key, network.reachable))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_clocks, clocks, happened)
        try:
            await Monitor(targets, moved).run(open_events())
        except OSError as error:
            why = error.strerror or error
            report(f"changes of the network are not seen ({why}): that a connection is dead is noticed by its silence")
