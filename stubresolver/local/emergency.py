"""Names that must have an answer when no upstream can be asked: those of time servers and of captive portals' tests.

Two deadlocks end here. A clock that is years off makes every certificate wrong, and the servers that would set it have
names. A portal's login page opens when a test of the operating system meets the portal, and the test has a name. The
answers are the names' real addresses, out of this table and nowhere else, which say so (RFC 8914, IANA's code 29,
Synthesized) and may be kept for half a minute. Who owns the network gains nothing: the addresses are those that the
names have anyway, and plain NTP and HTTP were his to tamper with before.

When they are given is for others to decide. A name whose addresses are not known to live for years is not here; nor is
one of a type that is not known: no guess is answered. Pure.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from stubresolver.local.names import to_wire, zone_in
from stubresolver.local.replies import SYNTHESIZED, negative, positive, record, told
from stubresolver.wire.codes import AAAA, NOERROR, A
from stubresolver.wire.query import Query

TTL: Final = 30  # seconds: once an upstream is there, nobody should hold on to a table for long

_WHY: Final = told(SYNTHESIZED, "out of a fixed table, because no upstream can be used now")


@dataclass(frozen=True, slots=True)
class Row:
    """Names with the same addresses. A family that is None is not known, () is known to have none."""

    names: tuple[str, ...]
    source: str
    v4: tuple[str, ...] | None = None
    v6: tuple[str, ...] | None = None


_CLOUDFLARE_V4: Final = ("162.159.200.1", "162.159.200.123")
_CLOUDFLARE_V6: Final = ("2606:4700:f1::1", "2606:4700:f1::123")
_GOOGLE_V4: Final = ("216.239.35.0", "216.239.35.4", "216.239.35.8", "216.239.35.12")
_GOOGLE_V6: Final = ("2001:4860:4806::", "2001:4860:4806:4::", "2001:4860:4806:8::", "2001:4860:4806:c::")

CLOCKS: Final = (
    Row(("time.cloudflare.com",), "developers.cloudflare.com/time-services/ntp/usage", _CLOUDFLARE_V4, _CLOUDFLARE_V6),
    # developers.google.com/time/guides; systemd-timesyncd asks time1 to time4 where nothing else is set
    # (systemd's meson_options.txt, ntp-servers). One address each, in the order of the numbers.
    Row(("time.google.com",), "developers.google.com/time", _GOOGLE_V4, _GOOGLE_V6),
    *(
        Row((f"time{number}.google.com",), "developers.google.com/time", (v4,), (v6,))
        for number, (v4, v6) in enumerate(zip(_GOOGLE_V4, _GOOGLE_V6, strict=True), 1)
    ),
    Row(
        ("ntp.ubuntu.com",),
        "ubuntu.com/server/docs, chrony's and timesyncd's sources",
        ("185.125.190.56", "185.125.190.57", "185.125.190.58", "91.189.91.157"),
        ("2620:2d:4000:1::3f", "2620:2d:4000:1::40", "2620:2d:4000:1::41"),
    ),
    Row(
        ("time.nist.gov",),
        "tf.nist.gov/tf-cgi/servers.cgi",
        ("132.163.96.1", "132.163.96.2", "132.163.97.1", "132.163.97.2", "129.6.15.28", "129.6.15.29"),
        ("2610:20:6f96:96::4", "2610:20:6f97:97::4", "2610:20:6f15:15::27"),
    ),
)

# The pool of volunteers, its zones of continents, countries and vendors, and their numbered names: ntppool.org/use.
# Its members change by the hour; Cloudflare's servers have been among them for years (community.ntppool.org, "Why is
# Cloudflare in the pool"), and are the same everywhere.
POOL: Final = "pool.ntp.org"
_POOL_ROW: Final = Row((POOL,), "ntppool.org/use", _CLOUDFLARE_V4, _CLOUDFLARE_V6)
_NOT_IN_THE_POOL: Final = ("www.pool.ntp.org",)  # a web site

_DNSCRYPT: Final = "dnscrypt-proxy, example-captive-portals.txt"

PORTALS: Final = (
    Row(("captive.apple.com",), _DNSCRYPT, ("17.253.109.201", "17.253.113.202")),
    Row(
        ("connectivitycheck.gstatic.com",),  # Android, ChromeOS, Chrome
        _DNSCRYPT,
        ("64.233.162.94", "64.233.164.94", "64.233.165.94", "74.125.132.94"),
    ),
    Row(
        ("connectivitycheck.android.com",),
        _DNSCRYPT,
        ("64.233.162.100", "64.233.162.101", "64.233.162.102", "64.233.162.113"),
    ),
    # learn.microsoft.com, "Network Connectivity Status Indicator": each family has a name of its own; the answer to
    # dns.msftncsi.com is compared with these very addresses.
    Row(("www.msftconnecttest.com",), "NCSI, and dnscrypt-proxy's list", ("13.107.4.52",), ()),
    Row(("ipv6.msftconnecttest.com",), "NCSI, and dnscrypt-proxy's list", (), ("2a01:111:2003::52",)),
    Row(("dns.msftncsi.com",), "NCSI, and dnscrypt-proxy's list", ("131.107.255.255",), ("fd3e:4f5a:5b81::1",)),
    Row(
        ("detectportal.firefox.com",),  # firefox-source-docs.mozilla.org/networking/captive_portals.html
        "Mozilla's address at Google Cloud, the same in all resolvers' logs since 2020",
        ("34.107.221.82",),
        ("2600:1901:0:38d7::",),
    ),
    Row(
        ("connectivity-check.ubuntu.com",),  # Ubuntu's and its descendants' NetworkManager-config-connectivity-ubuntu
        "Canonical's content servers, which changelogs.ubuntu.com has, too",
        ("185.125.190.17", "185.125.190.18", "91.189.91.48", "91.189.91.49"),
        ("2620:2d:4000:1::2a", "2620:2d:4000:1::2b", "2001:67c:1562::23", "2001:67c:1562::24"),
    ),
)


def _wire(name: str) -> bytes:
    wire = to_wire(name.encode("ascii"))
    assert wire is not None  # noqa: S101 - a name of the table above
    return wire


_Known = dict[int, tuple[bytes, ...]]  # RDATA by type


def _known(row: Row) -> _Known:
    """What is known of the names of a row."""
    found: _Known = {}
    if row.v4 is not None:
        found[A] = tuple(IPv4Address(address).packed for address in row.v4)
    if row.v6 is not None:
        found[AAAA] = tuple(IPv6Address(address).packed for address in row.v6)
    return found


_TABLE: Final = {_wire(name): _known(row) for row in (*CLOCKS, *PORTALS) for name in row.names}
_IN_POOL: Final = _known(_POOL_ROW)
_POOL_WIRE: Final = _wire(POOL)
_POOLS: Final = frozenset({_POOL_WIRE})
_ELSEWHERE: Final = frozenset(map(_wire, _NOT_IN_THE_POOL))


def emergency_reply(query: Query) -> bytes | None:
    """The reply to a query for one of these names, None for all other names and for what is not known of one."""
    name = query.name
    known = _TABLE.get(name)
    if known is None:
        if not name.endswith(_POOL_WIRE) or zone_in(name, _POOLS) is None or name in _ELSEWHERE:
            return None
        known = _IN_POOL
    addresses = known.get(query.type)
    if addresses is None:
        return None
    if not addresses:
        return negative(query, NOERROR, 0, TTL, _WHY)
    records = b"".join(record(query.type, TTL, rdata) for rdata in addresses)
    return positive(query, records, len(addresses), _WHY)
