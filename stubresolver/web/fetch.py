"""`Web.get`: one https URL, whole and in time, or `FetchFailed` with the one reason why not.

Rules. https only. A redirect is not followed, but named: who configured a URL trusts that server and no other. No
environment, no proxy, no credential. A name is resolved by whoever is handed in (our own verified upstreams) and by
nobody else. TLS 1.2 at least (RFC 9325 s3.1.1), certifi's anchors or a PEM file, and the host's name in the certificate
(RFC 9110 s4.3.4). A limit of octets and one of seconds hold for the whole: a server that trickles gets past neither.

What it may not do: read what it fetched, or raise anything else because of what a server sent. httpx is imported by the
first fetch alone (`web.http`), so that a service that fetches nothing does not carry it.
"""

import importlib
import re
import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import certifi
import trio

from stubresolver.errors import FetchFailed, Unreached

Resolve = Callable[[str], Awaitable[Sequence[IPv4Address | IPv6Address]]]
Progress = Callable[[int, int | None], None]  # octets so far, and of how many where the server says so

_BODY_OF_ERROR = 4096  # octets of a refusal's body that are kept: logs explain themselves in a line of JSON
_LONGEST_QUOTE = 200  # characters of a server's words in a message


@dataclass(frozen=True, slots=True)
class Response:
    """The head of an answer, and its body as it comes: still compressed where the server did that."""

    status: int
    length: int | None  # Content-Length
    encoding: str  # Content-Encoding, "" for none
    location: str
    body: AsyncIterator[bytes]


class Web:
    """Fetches; keeps nothing between two fetches but the trust anchors."""

    def __init__(self, resolve: Resolve, anchors: Path | None = None) -> None:
        """`resolve` gives a name's addresses or raises one of our errors; `anchors` is PEM, None for certifi's."""
        self._resolve = resolve
        self._anchors = anchors
        self._context: ssl.SSLContext | None = None

    async def get(self, url: str, *, limit: int, seconds: float, progress: Progress | None = None) -> bytes:
        """The body at `url`, of at most `limit` octets, within `seconds`; raises `FetchFailed`."""
        tell = progress or (lambda _got, _whole: None)
        check_url(url)
        if self._context is None:
            self._context = await trio.to_thread.run_sync(_prepare, self._anchors)
        from stubresolver.web.http import open_response  # noqa: PLC0415 - `_prepare` has imported it

        body = _Body(url, limit, tell)
        with trio.move_on_after(seconds):
            async with open_response(url, self._context, self._resolve) as response:
                if response.status != 200:
                    raise await _refusal(url, response)
                await body.read(response)
                return body.whole()
        problem = f"{url}: not complete after {seconds:g} s: {body.got} octets came"
        raise FetchFailed(problem) if body.got else Unreached(problem)


def check_url(url: str) -> None:
    """Raise `FetchFailed` for what is no plain https URL."""
    # RFC 3986 s3: printable ASCII without spaces; RFC 9110 s4.2.4 deprecates user names in it.
    if not url.lower().startswith("https://"):
        raise FetchFailed(f"{url!r}: expected a URL that begins with https://")
    if "@" in url.split("/")[2]:
        raise FetchFailed(f"{url!r}: a user name or password in a URL is not sent")
    parts = re.fullmatch(r"(?i:https)://([\w.-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?(/[!-~]*)?", url, re.ASCII)
    if parts is None:
        raise FetchFailed(f"{url!r}: expected https://HOST/PATH, in ASCII")
    # RFC 1035 s2.3.4: labels of 63 octets, names of 255, with a length before each label and the root's at the end
    host = parts[1].removesuffix(".")
    if len(host) > 253 or not all(0 < len(label) <= 63 for label in host.split(".")):
        raise FetchFailed(f"{url[:_LONGEST_QUOTE]!r}: its host cannot be a name: labels of 1 to 63 octets, 253 in all")
    if parts[2] and not 0 < int(parts[2]) < 65536:
        raise FetchFailed(f"{url!r}: port {parts[2]}, expected 1 to 65535")


class _Body:
    """The body of an answer, decompressed where it must be; never more of it than the limit."""

    def __init__(self, url: str, limit: int, tell: Progress) -> None:
        self._url = url
        self._limit = limit
        self._tell = tell
        self._pieces: list[bytes] = []
        self.got = 0

    async def read(self, response: Response) -> None:
        """Take the whole body; raises `FetchFailed` where it is longer than the limit or not to be unpacked."""
        if response.length is not None and response.length > self._limit:
            raise FetchFailed(f"{self._url}: announces {response.length} octets, at most {self._limit} are taken")
        if response.encoding not in {"", "gzip"}:
            # RFC 9110 s12.5.3: we asked for identity. gzip is taken all the same: some stores keep nothing else.
            raise FetchFailed(f"{self._url}: is encoded as {_quoted(response.encoding)}, expected it as it is")
        gzip = _Gunzip(self._url) if response.encoding else None
        async for raw in response.body:
            piece = raw if gzip is None else gzip.decode(raw, self._limit - self.got)
            if len(piece) > self._limit - self.got:
                unpacked = "" if gzip is None else " when it is unpacked"
                raise FetchFailed(f"{self._url}: sends more than the {self._limit} octets that are taken{unpacked}")
            self._pieces.append(piece)
            self.got += len(piece)
            self._tell(self.got, response.length)
        if gzip is not None:
            gzip.finish()

    def whole(self) -> bytes:
        """What was read."""
        return b"".join(self._pieces)


class _Gunzip:
    """gzip (RFC 1952), unpacked no further than there is room: a bomb costs one octet more than the limit."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._unpacking = zlib.decompressobj(wbits=31)  # 16 + 15: with gzip's header and checksum

    def decode(self, octets: bytes, room: int) -> bytes:
        """What the octets unpack to, at most one more than there is room for."""
        if self._unpacking.eof:
            raise FetchFailed(f"{self._url}: goes on after the end of its gzip")
        try:
            return self._unpacking.decompress(octets, room + 1)
        except zlib.error as error:
            raise FetchFailed(f"{self._url}: says that it is gzip and is not: {error}") from None

    def finish(self) -> None:
        """The body has ended; its compressed form must have, too, and nothing may follow it."""
        if not self._unpacking.eof or self._unpacking.unused_data:
            raise FetchFailed(f"{self._url}: does not end where its gzip ends")


async def _refusal(url: str, response: Response) -> FetchFailed:
    """The error for a status that is not 200, with the beginning of its body."""
    status = response.status
    if 300 <= status < 400 and response.location:
        where = _quoted(response.location)
        return FetchFailed(
            f"{url}: points to {where} (status {status}), which is not followed: name it instead", status
        )
    body = b""
    async for piece in response.body:
        body += piece
        if len(body) >= _BODY_OF_ERROR:
            break
    return FetchFailed(f"{url}: status {status}, expected 200", status, body[:_BODY_OF_ERROR])


def _prepare(anchors: Path | None) -> ssl.SSLContext:
    """What the first fetch needs: a fifth of a second, in which a service has queries to answer. For a thread."""
    importlib.import_module("stubresolver.web.http")
    return _tls_context(anchors)


def _tls_context(anchors: Path | None) -> ssl.SSLContext:
    """Host name and path are checked (PROTOCOL_TLS_CLIENT does both); no environment variable is read."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(anchors or certifi.where())
    except (OSError, ssl.SSLError) as error:
        problem = "no PEM certificates in it" if isinstance(error, ssl.SSLError) else error.strerror
        raise FetchFailed(f"{anchors or certifi.where()}: the trust anchors cannot be read: {problem}") from None
    return context


def _quoted(text: str) -> str:
    """A server's words, cut, and with nothing that steers a terminal."""
    return repr(text[:_LONGEST_QUOTE])
