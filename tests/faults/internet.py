"""The internet of the fault lab, as one program: servers behind relays, told by lines of JSON what to do.

    python -m tests.faults.internet < orders > replies

An order is `{"id": 1, "do": "open", ...}` and gets one reply, `{"id": 1, "got": ...}` or `{"id": 1, "error": ...}`:

    open     at, kind ("dot", "doh", "http", "plain", "hostile", "relay"), folder of chain.pem and key.pem, `to` for a
             relay, `name` for one of tests/upstream/hostile_servers.py
    set      at, and the fields of `Manners` and `Weather` that change
    strike   at, what: a word of `Route.strike`, "close_notify" or "goaway"; how many connections it struck
    shut     at: nobody listens there, so that SYNs are reset; `deaf`: SYNs are dropped
    reopen   at
    turn     at, to: new connections are led elsewhere, such as to an impostor; back home without `to`
    tally    at: what has come there

Places are ["1.1.1.1", 853]. It ends at the end of its input.
"""

import contextlib
import functools
import json
import socket
import sys
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import trio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from stubresolver.lab.authority import Credential
from tests.faults.relay import Route, Weather
from tests.faults.server import Manners, Server, serve_plain, talker

_LOGIN = b"HTTP/1.1 302 Found\r\nLocation: http://login.portal.lab/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_Place = tuple[str, int]
_Handle = Callable[[trio.SocketStream], Awaitable[None]]


@dataclass(eq=False)
class Site:
    """One address and what answers there."""

    place: _Place
    route: Route
    server: Server | None
    home: _Place
    listening: trio.CancelScope | None = None
    plug: tuple[socket.socket, ...] = ()


class Internet:
    """All sites, and the orders about them."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._sites: dict[_Place, Site] = {}

    async def obey(self, order: dict[str, Any]) -> object:
        """Do one thing; what came of it."""
        do = order.pop("do")
        place = (order["at"][0], order["at"][1])
        if do == "open":
            return await self._open(place, order)
        site = self._sites[place]
        match do:
            case "set":
                return _set(site, {name: value for name, value in order.items() if name != "at"})
            case "strike":
                what = order["what"]
                if what in {"close_notify", "goaway"} and site.server is not None:
                    return await site.server.part(what)
                return site.route.strike(what)
            case "shut":
                return self._shut(site, deaf=order.get("deaf", False))
            case "reopen":
                return await self._reopen(site)
            case "turn":
                to = order.get("to")
                site.route.target = (to[0], to[1]) if to else site.home
                return None
            case "tally":
                tally = {} if site.server is None else asdict(site.server.tally)
                return {**tally, "accepted": site.route.accepted, "standing": len(site.route.links)}
        raise ValueError(f"{do!r} is no order")

    async def _open(self, place: _Place, order: dict[str, Any]) -> None:
        kind = order["kind"]
        if kind == "plain":
            await self._nursery.start(serve_plain, place)
            return
        server = None
        if kind == "relay":
            target = (order["to"][0], order["to"][1])
        else:
            server = Server(_credential(Path(order["folder"])), kind) if kind in {"dot", "doh"} else None
            handle = _handler(kind, order) if server is None else server.handle
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            self._nursery.start_soon(trio.serve_listeners, _contained(handle), listeners)
            target = ("127.0.0.1", listeners[0].socket.getsockname()[1])
        site = self._sites[place] = Site(place, Route(target), server, target)
        await self._reopen(site)

    async def _reopen(self, site: Site) -> None:
        for plug in site.plug:
            plug.close()
        site.plug = ()
        listeners = await trio.open_tcp_listeners(site.place[1], host=site.place[0])
        site.listening = trio.CancelScope()
        self._nursery.start_soon(_serve, site, listeners)

    def _shut(self, site: Site, *, deaf: bool) -> None:
        assert site.listening is not None
        site.listening.cancel()
        if deaf:
            self._nursery.start_soon(_plug, site)


def _handler(kind: str, order: dict[str, Any]) -> _Handle:
    """What takes the connections of a place that is no server of ours."""
    if kind == "http":
        return talker(_LOGIN)
    from tests.upstream.hostile_servers import HOSTILE  # noqa: PLC0415 - few labs have one

    return functools.partial(HOSTILE[order["name"]].serve, _credential(Path(order["folder"])))


def _contained(handle: _Handle) -> _Handle:
    """One connection that goes wrong in a way that nobody foresaw ends alone; the log says how."""

    async def contained(stream: trio.SocketStream) -> None:
        try:
            await handle(stream)
        except Exception:  # noqa: BLE001 - see above
            traceback.print_exc()
        finally:
            await trio.aclose_forcefully(stream)

    return contained


async def _serve(site: Site, listeners: list[trio.SocketListener]) -> None:
    assert site.listening is not None
    async with trio.open_nursery() as nursery:  # connections outlive their listener
        with site.listening:
            await trio.serve_listeners(_contained(site.route.handle), listeners, handler_nursery=nursery)
        for listener in listeners:
            await trio.aclose_forcefully(listener)


async def _plug(site: Site) -> None:
    """A listener whose queue is full: listen(2): "the protocol may ... ignore the request", which Linux does."""
    family = socket.AF_INET6 if ":" in site.place[0] else socket.AF_INET
    while True:
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(site.place)
            break
        except OSError:  # the one before has not let go yet
            listener.close()
            await trio.sleep(0.001)
    listener.listen(0)
    filler = socket.create_connection(site.place)  # takes the only place
    site.plug = (listener, filler)


def _set(site: Site, changes: dict[str, Any]) -> None:
    for holder in (site.route.weather, site.server.manners if site.server else None):
        for one in fields(holder) if isinstance(holder, Weather | Manners) else ():
            if one.name in changes:
                name = one.name
                setattr(holder, name, changes.pop(name))
    if changes:
        raise ValueError(f"nothing here has {', '.join(changes)}")


def _credential(folder: Path) -> Credential:
    chain = x509.load_pem_x509_certificates((folder / "chain.pem").read_bytes())
    key = load_pem_private_key((folder / "key.pem").read_bytes(), None)
    return Credential(key, tuple(each.public_bytes(Encoding.DER) for each in chain))  # type: ignore[arg-type]


async def main() -> None:
    """Obey until the input ends."""
    buffer = b""
    orders = trio.lowlevel.FdStream(sys.stdin.fileno())
    async with trio.open_nursery() as nursery:
        internet = Internet(nursery)
        print('{"id": 0, "got": "ready"}', flush=True)  # noqa: T201 - its output
        while data := await orders.receive_some(65536):
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                order = json.loads(line)
                reply: dict[str, object] = {"id": order.pop("id")}
                try:
                    reply["got"] = await internet.obey(order)
                except Exception as error:  # noqa: BLE001 - told to whoever gave the order
                    reply["error"] = repr(error)
                print(json.dumps(reply), flush=True)  # noqa: T201 - its output
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        trio.run(main)
