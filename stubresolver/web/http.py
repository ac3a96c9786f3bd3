"""HTTP/1.1 by httpx, over connections of our own: where names come from and what TLS failed at is decided here.

Every error that a peer can cause leaves as `FetchFailed`. RFC 9110, RFC 9112; h11 underneath bounds the head of an
answer at 100 KiB. HTTP/2 is not offered: one file at a time gains nothing by it.
"""

import contextlib
import os
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import httpcore
import httpx
import trio

from stubresolver.errors import FetchFailed, StubResolverError, Unreached
from stubresolver.web.fetch import Resolve, Response

# Seconds for one address's TCP handshake, where another is left: one lost SYN is sent again after 1 s (RFC 6298 s2).
_CONNECT = 3.0
_MOST_ADDRESSES = 8  # that are tried; a name with more has some that are as good
_NO_TIMEOUT = httpx.Timeout(None)  # of single steps: one deadline holds for the whole
_HEADERS = {"Accept-Encoding": "identity", "User-Agent": "stubresolver", "Connection": "close"}


@asynccontextmanager
async def open_response(url: str, context: ssl.SSLContext, resolve: Resolve) -> AsyncIterator[Response]:
    """Ask for `url` on a connection of its own; its body can be read until the block ends. Raises `FetchFailed`."""
    backend = _Backend(url, resolve)
    try:
        async with (
            httpx.AsyncClient(
                transport=_Transport(context, backend), trust_env=False, timeout=_NO_TIMEOUT, headers=_HEADERS
            ) as client,
            client.stream("GET", url, follow_redirects=False) as response,
        ):
            length = response.headers.get("Content-Length", "")
            encoding = response.headers.get("Content-Encoding", "").strip().lower()
            body = response.aiter_raw()
            try:
                yield Response(
                    status=response.status_code,
                    length=int(length) if length.isascii() and length.isdigit() else None,
                    encoding="" if encoding == "identity" else encoding,
                    location=response.headers.get("Location", ""),
                    body=body,
                )
            finally:  # httpx's and httpcore's generators end in order only if they are read to their end
                backend.hang_up()
                with contextlib.suppress(httpcore.ProtocolError):
                    async for _ in body:
                        pass
    except UnicodeError as error:  # idna's, of a host that begins with xn-- and is no name
        raise FetchFailed(f"{url}: its host is not a name: {error}") from None
    except (httpcore.ProtocolError, httpx.HTTPError, httpx.InvalidURL) as error:
        raise FetchFailed(f"{url}: {_protocol_problem(error)}") from None


def _protocol_problem(error: Exception) -> str:
    """What a server's HTTP is wrong in, in words; h11's own where there are no better ones."""
    told = str(error) or type(error).__name__
    if "Receive buffer too long" in told:
        return "the head of its answer has more than 100 KiB"
    if "without sending complete message body" in told:
        return f"ends early: {told}"
    return f"its answer is not HTTP as it should be: {told}"


class _Transport(httpx.AsyncBaseTransport):
    """httpx's own transport, but that it takes a backend."""

    def __init__(self, context: ssl.SSLContext, backend: "_Backend") -> None:
        self._pool = httpcore.AsyncConnectionPool(ssl_context=context, network_backend=backend, max_connections=1)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Carry one request to httpcore and its answer back."""
        url = request.url
        answer = await self._pool.handle_async_request(
            httpcore.Request(
                request.method,
                httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=request.headers.raw,
            )
        )
        # one request has no use for a cookie, and its parser is spared what a server might write
        headers = [(name, value) for name, value in answer.headers if name.lower() != b"set-cookie"]
        return httpx.Response(answer.status, headers=headers, stream=_Body(answer))

    async def aclose(self) -> None:
        """Close the connection."""
        await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    """The body of httpcore's answer as httpx takes it."""

    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._answer.aiter_stream():
            yield piece

    async def aclose(self) -> None:
        """Read no more."""
        await self._answer.aclose()


class _Backend(httpcore.AsyncNetworkBackend):
    """TCP to the addresses that `resolve` gives, one after the other, until one answers."""

    def __init__(self, url: str, resolve: Resolve) -> None:
        self.url = url
        self._resolve = resolve
        self.hung_up = False

    def hang_up(self) -> None:
        """From now on the peer has nothing more to say."""
        self.hung_up = True

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's; the deadline is the caller's scope
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to the first address that takes one."""
        del timeout, local_address, socket_options
        addresses = (await self._addresses(host))[:_MOST_ADDRESSES]
        problems = []
        for address in addresses:
            try:
                with trio.move_on_after(_CONNECT if address != addresses[-1] else float("inf")):
                    return _Stream(await trio.open_tcp_stream(str(address), port), self)
                problems.append(f"{address}: no answer in {_CONNECT:g} s")
            except OSError as error:
                problems.append(f"{address}: {_cause(error)}")
        raise Unreached(f"{self.url}: cannot be connected to: {'; '.join(problems)}")

    async def _addresses(self, host: str) -> list[IPv4Address | IPv6Address]:
        """What a URL's host stands for: itself, where it is an address."""
        try:
            return [ip_address(host)]
        except ValueError:
            pass
        try:
            found = list(dict.fromkeys(await self._resolve(host)))
        except StubResolverError as error:
            raise Unreached(f"{self.url}: {host} cannot be resolved: {error}") from None
        if not found:
            raise Unreached(f"{self.url}: {host} has no address")
        return found


class _Stream(httpcore.AsyncNetworkStream):
    """TCP, then TLS over it; closed on every way out."""

    def __init__(self, stream: trio.abc.Stream, backend: _Backend) -> None:
        self._stream = stream
        self._backend = backend
        self._url = backend.url

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's
        """Some octets, none at the end."""
        del timeout
        if self._backend.hung_up:
            return b""
        try:
            return bytes(await self._stream.receive_some(max_bytes))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise FetchFailed(f"{self._url}: the connection broke: {_cause(error)}") from None

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - httpcore's
        """Send all of it. A server may answer and close before it has read us: what it said is read then."""
        del timeout
        try:
            await self._stream.send_all(buffer)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore.WriteError(str(error)) from None

    async def aclose(self) -> None:
        """Close without waiting for anybody."""
        await trio.aclose_forcefully(self._stream)

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's
    ) -> httpcore.AsyncNetworkStream:
        """The TLS handshake; raises `FetchFailed` with what is wrong about the certificate."""
        del timeout
        # RFC 9112 s9.8: many servers end without close_notify; what is cut short does not parse, or lacks its length
        secured = trio.SSLStream(self._stream, ssl_context, server_hostname=server_hostname, https_compatible=True)
        try:
            await secured.do_handshake()
        except BaseException as error:  # httpcore does not close it when the deadline ends the handshake
            await trio.aclose_forcefully(self._stream)
            if isinstance(error, trio.BrokenResourceError):
                raise FetchFailed(f"{self._url}: {_tls_problem(error)}") from None
            raise
        return _Stream(secured, self._backend)

    def get_extra_info(self, info: str) -> Any:
        """Nothing: httpcore asks for the ALPN protocol and for readability; neither is needed here."""
        del info
        return None


def _tls_problem(error: trio.BrokenResourceError) -> str:
    cause = error.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {cause.verify_message}"
    return f"no TLS 1.2 or newer with it: {_cause(error)}"


def _cause(error: BaseException) -> str:
    """The innermost reason in OpenSSL's or the kernel's words."""
    while inner := error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error.__cause__:
        error = inner
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).lower().replace("_", " ")
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__
