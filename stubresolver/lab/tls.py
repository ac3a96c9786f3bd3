"""The server side of TLS for the lab, over memory BIOs: records in, plaintext out. No socket, no clock.

It presents a credential, whatever that credential is worth, and never asks for one. Written beside the client machine
of `transport` and not with its code, so that the two are judged by each other.

RFC 8446 (TLS 1.3), RFC 7301 (ALPN), RFC 6066 s8 (a stapled OCSP response).
"""

from cryptography import x509
from OpenSSL import SSL

from stubresolver.lab.authority import Credential

_CHUNK = 65536  # plaintext and records are moved in pieces of this size; a TLS record has at most 16 KiB


class TLSFailed(Exception):
    """The peer broke TLS or refused us; what OpenSSL wants to say about it is still in `data_to_send`."""


def server_context(credential: Credential, alpn: bytes, *, maximum: int = SSL.TLS1_3_VERSION) -> SSL.Context:
    """A context that presents `credential` and chooses `alpn` where the client offers it."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_max_proto_version(maximum)
    context.use_privatekey(credential.key)
    leaf, *intermediates = (x509.load_der_x509_certificate(der) for der in credential.chain)
    context.use_certificate(leaf)
    for certificate in intermediates:
        context.add_extra_chain_cert(certificate)

    # A client that does not offer ours is served without ALPN: RFC 7858 asks for none.
    context.set_alpn_select_callback(
        lambda _connection, offered: alpn if alpn in offered else SSL.NO_OVERLAPPING_PROTOCOLS
    )
    # RFC 6066 s8: only a client that asks for a staple gets one; empty octets mean that there is none.
    context.set_ocsp_server_callback(lambda _connection, _data: credential.staple or b"")
    return context


class TLSServer:
    """One connection's machine. After `TLSFailed` or `closed` only `data_to_send` has a meaning."""

    def __init__(self, context: SSL.Context) -> None:
        self._connection = SSL.Connection(context, None)
        self._connection.set_accept_state()
        self.established = False  # the handshake is complete
        self.closed = False  # the peer sent close_notify

    def receive_data(self, data: bytes) -> bytes:
        """Take octets from the network and give the plaintext that they complete; raises `TLSFailed`."""
        self._connection.bio_write(data)
        plaintext = b""
        try:
            if not self.established:
                self._connection.do_handshake()
                self.established = True
            while True:
                plaintext += self._connection.recv(_CHUNK)
        except SSL.WantReadError:
            return plaintext
        except SSL.ZeroReturnError:
            self.closed = True
            return plaintext
        except SSL.Error as error:
            raise TLSFailed(str(error)) from None

    def send(self, plaintext: bytes) -> None:
        """Take plaintext; its records come out of `data_to_send`."""
        if plaintext:
            self._connection.sendall(plaintext)

    def close(self) -> None:
        """Say close_notify (RFC 8446 s6.1)."""
        self._connection.shutdown()

    def data_to_send(self) -> bytes:
        """Everything that is to be written now."""
        pieces = []
        while True:
            try:
                pieces.append(self._connection.bio_read(_CHUNK))
            except SSL.WantReadError:
                return b"".join(pieces)
