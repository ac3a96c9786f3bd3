"""The other side of a TLS connection, as a machine over memory BIOs, for tests of this folder and of `upstream`."""

from collections.abc import Sequence

from cryptography import x509
from OpenSSL import SSL

from stubresolver.lab.authority import Credential
from tests.transport.records import APPLICATION_SECRET, Forger, count_records, watch_secrets


class TlsServer:
    """A TLS server that decrypts and remembers every application octet that it gets."""

    def __init__(
        self,
        credential: Credential,
        alpn: Sequence[bytes] = (),
        maximum: int = SSL.TLS1_3_VERSION,
        ciphers: bytes = b"DEFAULT",  # of TLS 1.2
    ) -> None:
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_max_proto_version(maximum)
        context.set_cipher_list(ciphers)
        context.use_privatekey(credential.key)
        leaf, *others = (x509.load_der_x509_certificate(der) for der in credential.chain)
        context.use_certificate(leaf)
        for other in others:
            context.add_extra_chain_cert(other)
        if alpn:
            context.set_alpn_select_callback(
                lambda _connection, offered: next((p for p in alpn if p in offered), SSL.NO_OVERLAPPING_PROTOCOLS)
            )
        context.set_ocsp_server_callback(lambda _connection, _data: credential.staple or b"")
        self._secrets = watch_secrets(context)
        self.connection = SSL.Connection(context, None)
        self.connection.set_accept_state()
        self.complete = False
        self.over = False  # close_notify has come
        self.plaintext = bytearray()

    def receive(self, data: bytes) -> None:
        """Take what the client sent."""
        self.connection.bio_write(data)
        try:
            if not self.complete:
                self.connection.do_handshake()
                self.complete = True
            while True:
                self.plaintext += self.connection.recv(16384)
        except SSL.WantReadError:
            return
        except SSL.ZeroReturnError:
            self.over = True

    def send(self, data: bytes) -> None:
        """Encrypt for the client."""
        self.connection.sendall(data)

    def close(self) -> None:
        """Say close_notify."""
        self.connection.shutdown()

    def data_to_send(self) -> bytes:
        """What the client is to get."""
        try:
            return self.connection.bio_read(1 << 20)
        except SSL.WantReadError:
            return b""

    def forger(self) -> tuple[bytes, Forger]:
        """What is still to be delivered of this server, and who makes its records from then on (TLS 1.3)."""
        tail = self.data_to_send()
        return tail, Forger(self._secrets[APPLICATION_SECRET], count_records(tail))
