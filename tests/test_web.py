"""web: real TLS servers on loopback that answer well, badly, without end or not at all; each has its own message."""

import contextlib
import gzip
import ssl
import threading
import warnings
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest
import trio
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from stubresolver.errors import FetchFailed, Unreached, UpstreamError
from stubresolver.lab.authority import Credential, LabAuthority
from stubresolver.web import Web
from stubresolver.web.fetch import _prepare, check_url

NAME = "lists.example"
LOOPBACK = ip_address("127.0.0.1")
LIMIT = 1 << 20
Handler = Callable[[trio.SSLStream[trio.SocketStream]], Awaitable[None]]
Address = IPv4Address | IPv6Address


@pytest.fixture(scope="module")
def authority() -> LabAuthority:
    """OpenSSL reads the real clock, and any moment will do."""
    return LabAuthority("Web CA", now=datetime.now(UTC))


@pytest.fixture(scope="module")
def anchors(authority: LabAuthority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("web") / "roots.pem"
    path.write_bytes(authority.root.public_bytes(Encoding.PEM))
    return path


def issue(authority: LabAuthority, *, name: str = NAME, ends: timedelta = timedelta(days=30)) -> Credential:
    now = datetime.now(UTC)
    return authority.issue(not_before=now - timedelta(days=60), not_after=now + ends, names=(name,))


@pytest.fixture
def context(authority: LabAuthority, tmp_path: Path) -> Callable[..., ssl.SSLContext]:
    """A server's TLS with a credential, by default the good one."""

    def make(credential: Credential | None = None) -> ssl.SSLContext:
        credential = credential or issue(authority)
        path = tmp_path / "credential.pem"
        path.write_bytes(credential.key_pem + credential.chain_pem)
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(path)
        return made

    return make


@contextlib.asynccontextmanager
async def serving(context: ssl.SSLContext, handler: Handler) -> AsyncIterator[int]:
    """A TLS server that lets `handler` speak after the request's head has been read; gives its port."""

    async def handle(stream: trio.SocketStream) -> None:
        secured = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            head = b""
            while b"\r\n\r\n" not in head:
                octets = await secured.receive_some(65536)
                if not octets:
                    return
                head += octets
            await handler(secured)
        await trio.aclose_forcefully(secured)

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, handle, listeners)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


def says(*pieces: bytes) -> Handler:
    """A handler that sends pieces."""

    async def handler(stream: trio.SSLStream[trio.SocketStream]) -> None:
        for piece in pieces:
            await stream.send_all(piece)

    return handler


def answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def web(anchors: Path, *addresses: Address) -> Web:
    async def resolve(name: str) -> Sequence[Address]:
        assert name == NAME
        return addresses or (LOOPBACK,)

    return Web(resolve, anchors)


async def fetch(anchors: Path, port: int, *, seconds: float = 5.0, limit: int = LIMIT, **more: object) -> bytes:
    return await web(anchors).get(f"https://{NAME}:{port}/list.json", limit=limit, seconds=seconds, **more)


async def refused(anchors: Path, port: int, **more: object) -> FetchFailed:
    with pytest.raises(FetchFailed) as caught:
        await fetch(anchors, port, **more)
    assert str(caught.value).startswith(f"https://{NAME}:{port}/list.json: ")
    return caught.value


async def test_a_file_is_fetched_whole(context, anchors) -> None:
    """What the server sends with status 200 is given, and the progress says how much of how much."""
    seen: list[tuple[int, int | None]] = []
    async with serving(context(), says(answer(b"x" * 100_000))) as port:
        assert await fetch(anchors, port, progress=lambda got, whole: seen.append((got, whole))) == b"x" * 100_000
    assert seen[-1] == (100_000, 100_000)
    assert all(got <= 100_000 for got, _ in seen)


async def test_a_body_without_length_is_fetched_whole(context, anchors) -> None:
    """Chunks (RFC 9112 s7.1), and a body that ends with the connection, are read to their end."""
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"
    async with serving(context(), says(chunked)) as port:
        assert await fetch(anchors, port) == b"abcdefg"
    async with serving(context(), says(b"HTTP/1.1 200 OK\r\n\r\n", b"abc", b"defg")) as port:
        assert await fetch(anchors, port) == b"abcdefg"


async def test_an_address_in_the_url_is_not_resolved(authority, context, anchors) -> None:
    """A URL with an IP address asks nobody; the certificate must carry that address."""
    now = datetime.now(UTC)
    credential = authority.issue(not_before=now - timedelta(1), not_after=now + timedelta(1), addresses=(LOOPBACK,))
    async with serving(context(credential), says(answer(b"by address"))) as port:
        got = await web(anchors).get(f"https://127.0.0.1:{port}/", limit=LIMIT, seconds=5)
    assert got == b"by address"


async def test_the_request_says_nothing_of_its_user(context, anchors) -> None:
    """The request has the path, the host and four plain headers, and asks for no compression."""
    heads: list[bytes] = []

    async def handler(stream: trio.SSLStream[trio.SocketStream]) -> None:
        await stream.send_all(answer(b"", "Set-Cookie: a=b"))

    original = trio.SSLStream.receive_some

    async with serving(context(), handler) as port:
        with pytest.MonkeyPatch.context() as patch:

            async def receive(self, maximum=None):
                octets = await original(self, maximum)
                if octets.startswith(b"GET"):
                    heads.append(bytes(octets))
                return octets

            patch.setattr(trio.SSLStream, "receive_some", receive)
            await fetch(anchors, port)
    lines = heads[0].decode().lower().splitlines()
    assert lines[0] == "get /list.json http/1.1"
    assert {line.split(":")[0] for line in lines[1:] if line} == {
        "host", "accept", "accept-encoding", "user-agent", "connection"
    }  # fmt: skip
    assert "accept-encoding: identity" in lines


async def test_another_name_is_refused(authority, context, anchors) -> None:
    """RFC 9110 s4.3.4: the certificate must be for the host of the URL."""
    async with serving(context(issue(authority, name="other.example")), says(answer(b"x"))) as port:
        error = await refused(anchors, port)
    assert f"certificate is not accepted: Hostname mismatch, certificate is not valid for '{NAME}'" in str(error)


async def test_an_unknown_authority_is_refused(context, anchors) -> None:
    """A certificate of an authority that is not in the anchors is not accepted."""
    stranger = LabAuthority("Stranger CA", now=datetime.now(UTC))
    async with serving(context(issue(stranger)), says(answer(b"x"))) as port:
        assert "certificate is not accepted: unable to get local issuer" in str(await refused(anchors, port))


async def test_an_expired_certificate_is_refused(authority, context, anchors) -> None:
    """A certificate that has ended is not accepted."""
    async with serving(context(issue(authority, ends=-timedelta(days=1))), says(answer(b"x"))) as port:
        assert "certificate is not accepted: certificate has expired" in str(await refused(anchors, port))


async def test_tls_1_1_is_refused(context, anchors) -> None:
    """RFC 9325 s3.1.1: TLS 1.1 is not negotiated."""
    old = context()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    async with serving(old, says(answer(b"x"))) as port:
        assert "no TLS 1.2 or newer with it" in str(await refused(anchors, port))


async def test_anchors_of_a_file_take_the_place_of_the_usual_ones(context, anchors, tmp_path) -> None:
    """Without the file the lab's authority is unknown; a file without certificates is named."""
    async with serving(context(), says(answer(b"x"))) as port:

        async def resolve(_name: str) -> Sequence[Address]:
            return (LOOPBACK,)

        with pytest.raises(FetchFailed, match="certificate is not accepted"):
            await Web(resolve).get(f"https://{NAME}:{port}/", limit=9, seconds=5)
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing")
    with pytest.raises(FetchFailed, match=r"empty\.pem: the trust anchors cannot be read: no PEM"):
        await Web(resolve, empty).get(f"https://{NAME}:{port}/", limit=9, seconds=5)
    with pytest.raises(FetchFailed, match=r"absent\.pem: the trust anchors cannot be read: No such file"):
        await Web(resolve, tmp_path / "absent.pem").get(f"https://{NAME}:{port}/", limit=9, seconds=5)


async def test_a_redirect_is_named_and_not_followed(context, anchors) -> None:
    """Who is trusted is the server of the URL, and no other that it points to."""
    moved = answer(b"", "Location: https://elsewhere.example/\x1b[31m", status="302 Found")
    async with serving(context(), says(moved.replace(b"\x1b", b""))) as port:
        error = await refused(anchors, port)
    assert "points to 'https://elsewhere.example/[31m' (status 302), which is not followed" in str(error)
    assert error.status == 302


async def test_another_status_is_refused_with_the_beginning_of_its_body(context, anchors) -> None:
    """What a server says about its refusal is handed on, bounded."""
    page = b"<html>" + b"no such list " * 1000
    async with serving(context(), says(answer(page, status="404 Not Found"))) as port:
        error = await refused(anchors, port)
    assert "status 404, expected 200" in str(error)
    assert (error.status, error.body) == (404, page[:4096])
    async with serving(context(), says(answer(b"", status="503 Busy"))) as port:
        error = await refused(anchors, port)
    assert (error.status, error.body) == (503, b"")


async def test_an_announced_length_beyond_the_limit_is_refused_at_once(context, anchors) -> None:
    """200 MB that are announced are not read."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 209715200\r\n\r\n"
    async with serving(context(), says(head)) as port:
        assert "announces 209715200 octets, at most 1048576 are taken" in str(await refused(anchors, port))


@pytest.mark.parametrize("coding", ["", "Transfer-Encoding: chunked\r\n"])
async def test_a_body_beyond_the_limit_is_refused_when_it_gets_there(context, anchors, coding) -> None:
    """200 MB, or a body without end, is read to the limit and no further."""
    sent = 0

    async def handler(stream: trio.SSLStream[trio.SocketStream]) -> None:
        nonlocal sent
        await stream.send_all(f"HTTP/1.1 200 OK\r\n{coding}\r\n".encode())
        block = b"x" * 65536
        while sent < 209_715_200:
            await stream.send_all(b"10000\r\n" + block + b"\r\n" if coding else block)
            sent += len(block)

    async with serving(context(), handler) as port:
        assert "sends more than the 1048576 octets that are taken" in str(await refused(anchors, port))
    assert sent < 32 * LIMIT  # the limit, and what the kernel's buffers hold


async def test_the_limit_itself_is_taken(context, anchors) -> None:
    """A body of exactly the limit is within it."""
    async with serving(context(), says(answer(b"x" * 1000))) as port:
        assert len(await fetch(anchors, port, limit=1000)) == 1000
        assert "announces 1000 octets, at most 999" in str(await refused(anchors, port, limit=999))


async def test_a_trickle_does_not_get_past_the_deadline(context, anchors) -> None:
    """An octet now and then keeps no fetch alive: the seconds are for the whole."""

    async def handler(stream: trio.SSLStream[trio.SocketStream]) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await stream.send_all(b"x")
            await trio.sleep(0.01)

    async with serving(context(), handler) as port:
        error = await refused(anchors, port, seconds=0.3)
    assert "not complete after 0.3 s: " in str(error)
    assert not isinstance(error, Unreached)


@pytest.mark.parametrize("when", ["before TLS", "before the head", "in the head"])
async def test_a_silent_server_does_not_get_past_the_deadline(context, anchors, when) -> None:
    """Silence in the handshake, before the answer and inside its head all end with the same deadline."""

    async def silent(stream: trio.SSLStream[trio.SocketStream]) -> None:
        if when == "in the head":
            await stream.send_all(b"HTTP/1.1 200 OK\r\nX-")
        await trio.sleep_forever()

    if when != "before TLS":
        async with serving(context(), silent) as port:
            assert "not complete after 0.2 s: 0 octets" in str(await refused(anchors, port, seconds=0.2))
        return
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    error = await refused(anchors, port, seconds=0.2)
    assert "not complete after 0.2 s: 0 octets" in str(error)
    assert isinstance(error, Unreached)
    await listeners[0].aclose()


async def test_a_gzip_that_was_not_asked_for_is_unpacked_within_the_limit(context, anchors) -> None:
    """Some stores keep only the packed form; the limit is for what it unpacks to."""
    packed = gzip.compress(b"list " * 1000)
    async with serving(context(), says(answer(packed, "Content-Encoding: gzip"))) as port:
        assert await fetch(anchors, port) == b"list " * 1000
    bomb = gzip.compress(bytes(30 * LIMIT), 9)
    assert len(bomb) < LIMIT
    async with serving(context(), says(answer(bomb, "Content-Encoding: gzip"))) as port:
        error = await refused(anchors, port)
    assert "sends more than the 1048576 octets that are taken when it is unpacked" in str(error)


@pytest.mark.parametrize(
    ("encoding", "body", "problem"),
    [
        ("gzip", b"plain", "says that it is gzip and is not"),
        ("gzip", gzip.compress(b"list", mtime=0)[:-3], "does not end where its gzip ends"),
        ("gzip", zlib.compress(b"list"), "says that it is gzip and is not"),
        (
            "gzip, gzip",
            gzip.compress(gzip.compress(b"list", mtime=0), mtime=0),
            "is encoded as 'gzip, gzip', expected it as it is",
        ),
        ("br", b"\x0b\x01", "is encoded as 'br', expected it as it is"),
    ],
)
async def test_other_encodings_are_refused(context, anchors, encoding, body, problem) -> None:
    """RFC 9110 s12.5.3: identity was asked for; what cannot be bounded is not unpacked."""
    async with serving(context(), says(answer(body, f"Content-Encoding: {encoding}"))) as port:
        assert problem in str(await refused(anchors, port))


async def test_octets_after_a_gzip_are_refused(context, anchors) -> None:
    """What follows the packed file is not part of it."""
    packed = gzip.compress(b"list")
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed) + 1}\r\n\r\n".encode()

    async def handler(stream: trio.SSLStream[trio.SocketStream]) -> None:
        await stream.send_all(head + packed)
        await trio.sleep(0.05)  # so that it is not read with what comes before
        await stream.send_all(b"x")

    async with serving(context(), handler) as port:
        assert "goes on after the end of its gzip" in str(await refused(anchors, port))


async def test_a_flood_of_headers_is_refused(context, anchors) -> None:
    """The head of an answer is bounded."""

    async def handler(stream: trio.SSLStream[trio.SocketStream]) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\n")
        while True:
            await stream.send_all(b"X-Flood: " + b"x" * 4000 + b"\r\n")

    async with serving(context(), handler) as port:
        assert "the head of its answer has more than 100 KiB" in str(await refused(anchors, port))


@pytest.mark.parametrize(
    ("octets", "problem"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "its answer is not HTTP as it should be"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: ten\r\n\r\n", "its answer is not HTTP as it should be"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", "ends early"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "ends early"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "its answer is not HTTP as it should be"),
        (b"", "its answer is not HTTP as it should be: Server disconnected without sending a response"),
    ],
)
async def test_broken_http_is_refused(context, anchors, octets, problem) -> None:
    """What is no HTTP/1.1, or stops before its end, is never taken for a file."""
    async with serving(context(), says(octets)) as port:
        assert problem in str(await refused(anchors, port))


async def test_a_name_that_cannot_be_resolved_is_refused(anchors) -> None:
    """The reason of whoever resolves is told; a name without an address is another reason."""

    async def failing(_name: str) -> Sequence[Address]:
        raise UpstreamError("every upstream was refused")

    async def empty(_name: str) -> Sequence[Address]:
        return ()

    with pytest.raises(Unreached, match=f"{NAME} cannot be resolved: every upstream was refused"):
        await Web(failing, anchors).get(f"https://{NAME}/", limit=9, seconds=5)
    with pytest.raises(Unreached, match=f"{NAME} has no address"):
        await Web(empty, anchors).get(f"https://{NAME}/", limit=9, seconds=5)


async def test_the_next_address_is_tried(context, anchors) -> None:
    """An address that refuses is passed over; where all do, each is named with its reason."""
    dead = ip_address("127.0.0.77")
    async with serving(context(), says(answer(b"found"))) as port:
        url = f"https://{NAME}:{port}/"
        assert await web(anchors, dead, LOOPBACK).get(url, limit=LIMIT, seconds=5) == b"found"
        with pytest.raises(
            FetchFailed, match=r"cannot be connected to: 127\.0\.0\.77: Connection refused; 127\.0\.0\.78"
        ):
            await web(anchors, dead, dead + 1).get(url, limit=LIMIT, seconds=5)


class NobodyResolves(trio.abc.HostnameResolver):
    """The system's way to addresses, closed; trio asks it for names alone."""

    async def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):  # noqa: A002 - trio's
        raise AssertionError(f"the system was asked for {host}")

    async def getnameinfo(self, sockaddr, flags):
        raise AssertionError(f"the system was asked for {sockaddr}")


async def test_the_system_resolves_nothing(context, anchors) -> None:
    """A name goes to whom was handed in, and to nobody else."""
    trio.socket.set_custom_hostname_resolver(NobodyResolves())
    async with serving(context(), says(answer(b"resolved by us"))) as port:
        assert await fetch(anchors, port) == b"resolved by us"


async def test_the_environment_has_no_say(context, anchors, monkeypatch) -> None:
    """Neither a proxy nor a certificate store of the environment is looked at."""
    for variable in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9/")
    async with serving(context(), says(answer(b"direct"))) as port:
        assert await fetch(anchors, port) == b"direct"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://lists.example/", "begins with https://"),
        ("file:///etc/passwd", "begins with https://"),
        ("lists.example/list.json", "begins with https://"),
        ("https://", "expected https://HOST/PATH"),
        ("https:///list.json", "expected https://HOST/PATH"),
        ("https://lists.example/a b", "expected https://HOST/PATH"),
        ("https://lists.example:http/", "expected https://HOST/PATH"),
        ("https://lists.example\n.evil/", "expected https://HOST/PATH"),
        ("https://user:word@lists.example/", "is not sent"),
        ("https://.example/", "its host cannot be a name"),
        ("https://lists..example/", "its host cannot be a name"),
        (f"https://{'x' * 64}.example/", "its host cannot be a name"),
        (f"https://{'x.' * 127}example/", "its host cannot be a name"),
        ("https://lists.example:0/", "port 0, expected 1 to 65535"),
        ("https://lists.example:65979/", "port 65979, expected 1 to 65535"),
        ("https://xn--/", "its host is not a name"),
        ("https://xn--a/", "its host is not a name"),
    ],
)
async def test_other_urls_are_refused(anchors, url, problem) -> None:
    """Only a plain https URL is asked for, and nobody is asked about another."""
    with pytest.raises(FetchFailed, match=problem):
        await web(anchors).get(url, limit=9, seconds=5)


async def test_what_the_first_fetch_needs_is_read_beside_the_event_loop(anchors, monkeypatch) -> None:
    """Nobody who waits for an answer of the service waits for httpx to be imported or for anchors to be parsed."""
    threads: list[int] = []

    def prepare(file: Path | None) -> ssl.SSLContext:
        threads.append(threading.get_ident())
        return _prepare(file)

    monkeypatch.setattr("stubresolver.web.fetch._prepare", prepare)
    with pytest.raises(FetchFailed):
        await web(anchors).get("https://127.0.0.1:1/", limit=9, seconds=5)
    assert threads
    assert threading.get_ident() not in threads


@given(st.text(max_size=40).map("https://".__add__) | st.text(max_size=40))
def test_any_url_is_plain_or_refused(url) -> None:
    """Whatever the text: it is a URL of printable ASCII, or it is refused."""
    try:
        check_url(url)
    except FetchFailed:
        return
    assert url.isascii()
    assert url.isprintable()
    assert "@" not in url.split("/")[2]


@settings(max_examples=30)
@given(st.from_regex(r"https://[A-Za-z0-9.\-_~%:\[\]]{1,20}(/[!-~]{0,20})?", fullmatch=True))
def test_what_passes_as_a_url_raises_nothing_but_the_known_error(url) -> None:
    """Whatever passes the check fails, if it does, as a fetch fails."""

    async def nobody(_name: str) -> Sequence[Address]:
        return ()

    with pytest.raises(FetchFailed):
        trio.run(lambda: Web(nobody).get(url, limit=9, seconds=0.5))
