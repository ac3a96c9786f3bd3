"""TLS as a client, without a socket: octets and plaintext in, octets and events out. The only door to OpenSSL.

What it is: pyOpenSSL over memory BIOs (RFC 8446; RFC 5246 only where a person lowers the minimum). It speaks TLS and
reports what was shown; it does not know who may be trusted, and no certificate makes it fail. OpenSSL's own path
validation runs with the given anchors at the given time as a second lock, on the chain that the handshake showed; what
it finds wrong is *reported* in `HandshakeComplete.openssl_error`, so that the whole chain can be judged and kept as
evidence. It runs after the handshake and not in a verify callback, because cffi makes a Python callback of writable and
executable memory, which the service's sandbox forbids (MemoryDenyWriteExecute=). For the same reason a stapled OCSP
response is asked for and read afterwards, and not taken by pyOpenSSL's callback. What it says is for others to judge.

What it may not do: resume a session (a resumed session shows no certificate, RFC 8446 s2.2), send early data, compress,
renegotiate, read the system's trust store, send plaintext before the handshake is complete, raise because of what a
peer sent, or listen for long to one that says nothing.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from OpenSSL import SSL, crypto

from stubresolver.errors import BadInput, ChannelClosed

VERSIONS = {"TLSv1.2": SSL.TLS1_2_VERSION, "TLSv1.3": SSL.TLS1_3_VERSION}

# RFC 9325 s4.2: in TLS 1.2, ephemeral key exchange and AEAD only. TLS 1.3 has nothing else.
TLS12_CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20"

# What a peer may send before its handshake is complete. OpenSSL allows a chain 100 KiB (SSL_CTX_set_max_cert_list);
# the rest of a handshake is a few KiB, so 256 KiB hold every honest one and bound a dishonest one.
HANDSHAKE_LIMIT = 256 * 1024

# What a peer may send after its handshake beyond the plaintext in it: tickets, KeyUpdates, padding, a record that is
# not complete, the 22 octets that a record costs. Each piece of plaintext pays for those, and for as many beside them.
# An answer of 3,000 octets in records of one octet each fits in; 2,500 KeyUpdates, each 18 µs of ours, do not.
BARREN_LIMIT = 64 * 1024
_PAYS = 44

_READ = 16 * 1024  # RFC 8446 s5.1: "The length MUST NOT exceed 2^14 bytes"; SSL_read gives one record at a time
_WRITE = 256 * 1024

# pyOpenSSL hands a staple to a callback and to nothing else. The binding beneath it, which cryptography ships, has
# OpenSSL's accessor; these names are private and may go. Then no staple is read, which whoever starts the program says.
_FFI: Any = getattr(SSL, "_ffi", None)
_GET_STAPLE: Any = getattr(getattr(SSL, "_lib", None), "SSL_get_tlsext_status_ocsp_resp", None)
READS_STAPLES = _FFI is not None and _GET_STAPLE is not None


@dataclass(frozen=True, slots=True)
class HandshakeComplete:
    """The peer has proved that it holds the key of `chain[0]`. Whether that may be trusted is for others to say."""

    chain: tuple[bytes, ...]  # certificates in DER, leaf first, as the peer sent them
    version: str  # "TLSv1.3"
    cipher: str  # "TLS_AES_256_GCM_SHA384"
    group: str | None  # "X25519MLKEM768"; None where OpenSSL cannot tell
    alpn: str | None  # "h2"; None where none was negotiated
    openssl_error: str | None  # the first thing that OpenSSL's path validation found wrong; None if nothing
    staple: bytes | None = None  # the stapled OCSP response as OpenSSL read it, DER; None where there is none


@dataclass(frozen=True, slots=True)
class DataReceived:
    """Plaintext from the peer."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Closed:
    """The peer's direction is over. `clean` only by close_notify (RFC 8446 s6.1); else octets may be missing."""

    clean: bool
    reason: str  # "" for a clean end
    violation: bool = False  # the peer broke the protocol, or sent what nobody needs: no accident of the network


TlsEvent = HandshakeComplete | DataReceived | Closed


class TLSContext:
    """What all connections share: the versions that are spoken and the anchors of the second lock."""

    def __init__(self, anchors: Sequence[bytes], minimum_version: str = "TLSv1.3") -> None:
        if minimum_version not in VERSIONS:
            raise BadInput(f"TLS version {minimum_version!r} is not spoken; expected one of {', '.join(VERSIONS)}")
        self._anchors = [_load_anchor(number, der) for number, der in enumerate(anchors)]
        self._context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        self._context.set_min_proto_version(VERSIONS[minimum_version])
        self._context.set_cipher_list(TLS12_CIPHERS)
        self._context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        self._context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
        # No chain makes the handshake fail: whoever shows it proves that it has the key, and is judged then.
        self._context.set_verify(SSL.VERIFY_NONE)

    def client(self, server_name: str | None, alpn: list[bytes], now: datetime) -> "TLSClient":
        """One connection's machine, validating paths at `now` (an aware time); its ClientHello is ready to be sent."""
        connection = SSL.Connection(self._context, None)
        connection.set_alpn_protos(alpn)
        connection.request_ocsp()  # RFC 6066 s8, RFC 8446 s4.4.2.1
        # RFC 6066 s3: "Literal IPv4 and IPv6 addresses are not permitted in "HostName"."
        if server_name is not None and not _is_address(server_name):
            connection.set_tlsext_host_name(server_name.encode("ascii"))
        return TLSClient(connection, self._store(now))

    def path_error(self, chain: Sequence[bytes], now: datetime) -> str | None:
        """What OpenSSL finds wrong with a chain that was shown before, by these anchors at `now`; None if nothing."""
        try:
            certificates = [crypto.load_certificate(crypto.FILETYPE_ASN1, der) for der in chain]
        except crypto.Error as error:
            return _text(error)
        return _path_error(self._store(now), certificates)

    def _store(self, now: datetime) -> crypto.X509Store:
        """The anchors at `now`. A new store each time: one that has a verification time keeps its first."""
        store = crypto.X509Store()
        # RFC 5280 s6.1.1(d): a trust anchor is a name and a key; it need not be self-signed.
        store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
        store.set_time(now.astimezone(UTC))
        for anchor in self._anchors:
            store.add_cert(anchor)
        return store


class TLSClient:
    """One TLS connection as a machine. Feed it with `receive_data`; write out what `data_to_send` gives."""

    def __init__(self, connection: SSL.Connection, store: crypto.X509Store) -> None:
        self._connection = connection
        self._store = store
        self._complete = False
        self._over = False
        self._received = 0
        self._barren = 0  # octets since the handshake that brought no plaintext, less those that plaintext has paid for
        connection.set_connect_state()
        self._advance([])

    def receive_data(self, data: bytes) -> list[TlsEvent]:
        """Take octets from the peer (b"" for the end of the stream) and say what they mean. Never raises."""
        events: list[TlsEvent] = []
        if self._over:
            return events
        if not data:
            during = "after the handshake, without close_notify" if self._complete else "during the handshake"
            return self._end(events, f"the peer closed the connection {during}")
        if not self._complete:
            self._received += len(data)
            if self._received > HANDSHAKE_LIMIT:
                return self._end(events, f"more than {HANDSHAKE_LIMIT} octets of handshake")
        else:
            self._barren += len(data)
        try:
            self._connection.bio_write(data)
        except SSL.Error as error:
            return self._end(events, _text(error))
        return self._advance(events)

    def send(self, plaintext: bytes | bytearray | memoryview) -> None:
        """Encrypt; `ChannelClosed` where the connection is over. It is a defect to call it before the handshake."""
        if not self._complete:
            raise RuntimeError("plaintext before the handshake is complete")
        if not plaintext:
            return
        try:
            self._connection.sendall(plaintext)  # `send` takes one record of it (SSL_MODE_ENABLE_PARTIAL_WRITE)
        except SSL.Error as error:
            raise ChannelClosed(f"TLS: {_text(error)}") from None

    def data_to_send(self) -> bytes:
        """Everything that is to be written now; b"" for nothing."""
        pieces = []
        try:
            while len(piece := self._connection.bio_read(_WRITE)) == _WRITE:
                pieces.append(piece)
        except SSL.WantReadError:
            return b"".join(pieces)
        return b"".join([*pieces, piece]) if pieces else piece

    def close(self) -> None:
        """Say close_notify (RFC 8446 s6.1), if the connection is in a state to say it."""
        try:
            if self._complete:
                self._connection.shutdown()
        except SSL.Error:
            return

    def _advance(self, events: list[TlsEvent]) -> list[TlsEvent]:
        """Let OpenSSL work through what it has been given, until it wants more."""
        try:
            if not self._complete:
                self._connection.do_handshake()
                events.append(self._handshake_complete())
                self._complete = True
            while True:
                plaintext = self._connection.recv(_READ)
                size = len(plaintext)
                self._barren -= size + _PAYS if size > _PAYS else 2 * size
                events.append(DataReceived(plaintext))
        except SSL.WantReadError:
            if self._barren > BARREN_LIMIT:
                reason = f"the upstream sends and does not answer: {self._barren} octets of TLS that say nothing"
                return self._end(events, reason, violation=True)
            if self._barren < 0:  # noqa: PLR1730 - on the way of each answer: max() costs three times as much
                self._barren = 0
            return events
        except SSL.ZeroReturnError:
            return self._end(events, "" if self._complete else "close_notify during the handshake")
        except (SSL.Error, crypto.Error) as error:
            return self._end(events, _text(error))

    def _handshake_complete(self) -> HandshakeComplete:
        connection = self._connection
        certificates = connection.get_peer_cert_chain() or []
        return HandshakeComplete(
            chain=tuple(crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate) for certificate in certificates),
            version=connection.get_protocol_version_name(),
            cipher=connection.get_cipher_name() or "",
            group=connection.get_group_name(),
            alpn=connection.get_alpn_proto_negotiated().decode("ascii", "backslashreplace") or None,
            openssl_error=_path_error(self._store, certificates),
            staple=_staple(connection),
        )

    def _end(self, events: list[TlsEvent], reason: str, *, violation: bool = False) -> list[TlsEvent]:
        self._over = True
        events.append(Closed(clean=not reason, reason=reason, violation=violation))
        return events


def _path_error(store: crypto.X509Store, chain: Sequence[crypto.X509]) -> str | None:
    """What OpenSSL's path validation finds wrong with the chain, None if it leads to an anchor of the store."""
    if not chain:
        return "no certificate"
    try:
        crypto.X509StoreContext(store, chain[0], chain[1:]).verify_certificate()
    except crypto.X509StoreContextError as error:
        return f"{error} (depth {error.errors[1]})"
    except crypto.Error as error:
        return _text(error)
    return None


def _staple(connection: SSL.Connection) -> bytes | None:
    """The OCSP response that came with the handshake, None where there is none or it cannot be read."""
    if not READS_STAPLES:
        return None
    start = _FFI.new("unsigned char **")
    length = _GET_STAPLE(connection._ssl, start)  # noqa: SLF001 - what the accessor works on
    # SSL_get_tlsext_status_ocsp_resp(3): -1 for none; the octets stay OpenSSL's and are copied here
    return bytes(_FFI.buffer(start[0], length)) if length > 0 else None


def _load_anchor(number: int, der: bytes) -> crypto.X509:
    try:
        return crypto.load_certificate(crypto.FILETYPE_ASN1, der)
    except crypto.Error as error:
        raise BadInput(f"trust anchor {number}: {_text(error)}; expected a certificate in DER") from None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _text(error: Exception) -> str:
    """What OpenSSL says, in its own words and without its file names."""
    if isinstance(error, SSL.SysCallError):
        return "the peer closed the connection without close_notify"
    queue = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return "; ".join(reason for _, _, reason in queue if reason) or "OpenSSL failed without a reason"
