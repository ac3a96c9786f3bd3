"""What a peer presented: the input of every judgement and the content of every evidence record.

A value made of octets and facts, so that a judgement can be repeated years later on another machine. Nothing here
has been verified; that is what the verifier does with it.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address


@dataclass(frozen=True, slots=True)
class TlsFacts:
    """What the TLS handshake negotiated (RFC 8446) and what OpenSSL made of the chain."""

    version: str  # "TLSv1.3"
    cipher: str  # "TLS_AES_256_GCM_SHA384"
    group: str | None  # "X25519MLKEM768"; None where OpenSSL cannot tell
    alpn: str | None  # "h2", "dot", None where none was negotiated
    openssl_error: str | None  # the second lock: what OpenSSL's own path validation found wrong, None if nothing


@dataclass(frozen=True, slots=True)
class Presented:
    """Everything a peer showed in one handshake, and to whom we meant to speak.

    `tls` is None only where a chain is judged from a file: then the rules about TLS are noted as not judged.
    """

    address: IPv4Address | IPv6Address | None  # the dialled IP address; None only in judgements of a name alone
    name: str | None  # the authentication name (RFC 8310 s2), if one was configured
    chain: tuple[bytes, ...]  # certificates in DER, leaf first, as the peer sent them
    tls: TlsFacts | None = None
    staple: bytes | None = None  # the stapled OCSP response in DER (RFC 6066 s8), as the handshake showed it
