"""An upstream: an IP address, how to speak to it, and the name to authenticate. A value; no socket, no DNS.

    tls://1.1.1.1#one.one.one.one                        DoT, RFC 7858, port 853
    tls://[2606:4700:4700::1111]:853#one.one.one.one
    https://1.1.1.1/dns-query#cloudflare-dns.com         DoH, RFC 8484, port 443

The host is an IP address because no bootstrap resolver exists; the fragment is the optional authentication name
(RFC 8310 s2), which is then demanded of the certificate beside the address.
"""

import enum
import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import SplitResult, urlsplit

from stubresolver.errors import BadInput

_PATH = re.compile(r"(/[!-~]*)?\Z")
_NAME = re.compile(r"(?=.{1,253}\Z)(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*\Z")


class Transport(enum.StrEnum):
    """How queries travel; the value is the URL scheme."""

    DOT = "tls"  # RFC 7858
    DOH = "https"  # RFC 8484


DEFAULT_PORTS = {Transport.DOT: 853, Transport.DOH: 443}  # RFC 7858 s3.1; RFC 9110 s4.2.2


@dataclass(frozen=True, slots=True)
class Upstream:
    """One place to ask. Two upstreams are the same if every field is."""

    transport: Transport
    address: IPv4Address | IPv6Address
    port: int
    name: str | None = None  # authentication name, lower case, without final dot
    path: str = "/dns-query"  # DoH only; RFC 8484 s4.1

    def __str__(self) -> str:
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        port = "" if self.port == DEFAULT_PORTS[self.transport] else f":{self.port}"
        path = self.path if self.transport is Transport.DOH else ""
        return f"{self.transport}://{host}{port}{path}" + (f"#{self.name}" if self.name else "")


def parse_upstream(text: str) -> Upstream:
    """Read an upstream as a person writes it; `BadInput` names what was got and what was expected."""
    expected = "expected tls://IP[:PORT][#NAME] or https://IP[:PORT]/PATH[#NAME]"
    try:
        parts, port = _split(text.strip())
    except ValueError as error:
        raise BadInput(f"upstream {text!r}: {error}; {expected}") from None
    if parts.scheme not in {"tls", "https"}:
        raise BadInput(f"upstream {text!r}: the scheme {parts.scheme!r} is not spoken; {expected}")
    transport = Transport(parts.scheme)
    if parts.username is not None or parts.password is not None or parts.query:
        raise BadInput(f"upstream {text!r}: user names and query strings have no meaning here; {expected}")
    try:
        address = ip_address(parts.hostname or "")
    except ValueError:
        raise BadInput(
            f"upstream {text!r}: {parts.hostname!r} is not an IP address; an upstream is dialled by its address, "
            f"because no other resolver is asked for it; write its name after '#'; {expected}"
        ) from None
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            raise BadInput(f"upstream {text!r}: zone identifiers are not supported; {expected}")
        address = address.ipv4_mapped or address
    if port == 0:
        raise BadInput(f"upstream {text!r}: port 0 cannot be dialled; {expected}")
    if transport is Transport.DOT and parts.path not in {"", "/"}:
        raise BadInput(f"upstream {text!r}: DoT has no path, got {parts.path!r}; {expected}")
    if transport is Transport.DOH and not _PATH.match(parts.path):
        raise BadInput(f"upstream {text!r}: a path has printable ASCII characters only (RFC 3986 s3.3); {expected}")
    return Upstream(
        transport,
        address,
        port or DEFAULT_PORTS[transport],
        _parse_name(text, parts.fragment),
        (parts.path or "/dns-query") if transport is Transport.DOH else "",
    )


def _split(text: str) -> tuple[SplitResult, int | None]:
    """The parts of the URL and its port; raises `ValueError`."""
    if not text.isprintable():  # `urlsplit` drops tabs and line breaks without a word
        raise ValueError("a control character stands in it")
    if text.partition("://")[2].count(":") > 1 and "[" not in text:
        raise ValueError("an IPv6 address stands in brackets")
    parts = urlsplit(text)
    return parts, parts.port


def _parse_name(text: str, fragment: str) -> str | None:
    """The authentication name after '#', or None where there is none."""
    if "#" not in text:
        return None
    name = fragment.rstrip(".").lower()
    if not _NAME.match(name) or name.replace(".", "").isdigit():
        raise BadInput(f"upstream {text!r}: {fragment!r} is not a host name; after '#' stands one like one.one.one.one")
    return name
