"""An https server on a thread of its own that serves what a test gives it: pages, or a body without end."""

import contextlib
import ssl
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import trio

from stubresolver.lab.authority import Credential

ENDLESS = "endless"  # instead of a page: a body that never ends
TRICKLE = "trickle"  # an octet now and then
SILENT = "silent"  # nothing at all
LARGE = "large"  # 200 MB, announced
Page = bytes | str


@contextlib.contextmanager
def serving(credential: Credential, pages: Mapping[str, Page], folder: Path) -> Iterator[int]:
    """The port of a server that gives each path its page, and 404 with an HTML page for others."""
    file = folder / "server.pem"
    file.write_bytes(credential.key_pem + credential.chain_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    started = threading.Event()
    found: list[tuple[int, trio.lowlevel.TrioToken, trio.CancelScope]] = []

    async def handle(stream: trio.SocketStream) -> None:
        secured = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await _answer(secured, pages)
        await trio.aclose_forcefully(secured)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            port = listeners[0].socket.getsockname()[1]
            found.append((port, trio.lowlevel.current_trio_token(), nursery.cancel_scope))
            nursery.start_soon(trio.serve_listeners, handle, listeners)
            started.set()

    thread = threading.Thread(target=trio.run, args=(main,), name="web server")
    thread.start()
    assert started.wait(10), "the web server does not start"
    ((port, token, scope),) = found
    try:
        yield port
    finally:
        token.run_sync_soon(scope.cancel)
        thread.join(10)


async def _answer(stream: trio.SSLStream[trio.SocketStream], pages: Mapping[str, Page]) -> None:
    head = b""
    while b"\r\n\r\n" not in head:
        head += await stream.receive_some(65536)
    page = pages.get(head.split()[1].decode())
    if page == SILENT:
        await trio.sleep_forever()
    if page == LARGE:
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 200000000\r\n\r\n{")
        await trio.sleep_forever()
    if page in {ENDLESS, TRICKLE}:
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n{")
        while True:
            await stream.send_all(b" " if page == TRICKLE else b" " * 65536)
            await trio.sleep(0.01 if page == TRICKLE else 0)
    assert page is None or isinstance(page, bytes)
    body = b"<html>no such page</html>" if page is None else page
    status = "404 Not Found" if page is None else "200 OK"
    await stream.send_all(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
