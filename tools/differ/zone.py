"""The zone that all are asked about, and the questions: the same ones in the same order on every machine.

One zone at the root, so that every name has an answer; knotd serves and signs it. No name leads into a real network.
"""

from dataclasses import dataclass
from itertools import product
from random import Random

_TYPES = """
    A AAAA CNAME NS SOA PTR MX TXT SRV NAPTR CAA DS DNSKEY NSEC TLSA SSHFP HTTPS SVCB LOC HINFO ANY TYPE65280
"""
TYPES = _TYPES.split()
_HEX = "ab" * 32
_STRING = '"' + "." * 250 + '"'

_LINES = f"""
$TTL 7200
@ SOA ns.lab. people.lab. 1 7200 3600 1209600 900
@ NS ns.lab.
ns.lab. A 192.0.2.53
ns.lab. AAAA 2001:db8::53
all.lab. A 192.0.2.1
all.lab. A 192.0.2.2
all.lab. AAAA 2001:db8::1
all.lab. MX 10 mail.lab.
all.lab. TXT "one" "two"
all.lab. SRV 1 2 53 ns.lab.
all.lab. NAPTR 10 10 "s" "SIP+D2U" "" _sip._udp.lab.
all.lab. CAA 0 issue "ca.example"
all.lab. TLSA 3 1 1 {_HEX}
all.lab. SSHFP 4 2 {_HEX}
all.lab. HTTPS 1 . alpn=h2 ipv4hint=192.0.2.1
all.lab. SVCB 1 svc.lab. alpn=dot
all.lab. LOC 52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m
all.lab. HINFO "PDP-11" "UNIX"
all.lab. TYPE65280 \\# 4 01020304
all.lab. PTR mail.lab.
mail.lab. A 192.0.2.25
onlya.lab. A 192.0.2.3
txt.lab. TXT "x"
*.wild.lab. A 192.0.2.80
*.wild.lab. TXT "wild"
deep.wild.lab. AAAA 2001:db8::80
*.wildc.lab. CNAME all.lab.
la.lab. CNAME lb.lab.
lb.lab. CNAME la.lab.
self.lab. CNAME self.lab.
dangling.lab. CNAME nowhere.lab.
empty.lab. CNAME txt.lab.
d.lab. DNAME target.lab.
d.lab. TXT "beside a DNAME"
x.target.lab. A 192.0.2.4
a.b.ent.lab. A 192.0.2.5
sub.lab. NS ns.sub.lab.
sub.lab. DS 12345 13 2 {_HEX}
ns.sub.lab. A 192.0.2.54
zero.lab. 0 A 192.0.2.6
long.lab. 2147483647 A 192.0.2.7
day.lab. 172800 A 192.0.2.8
private.lab. A 192.168.1.1
mixed.lab. A 192.0.2.9
mixed.lab. A 10.0.0.1
a\\.b.lab. A 192.0.2.10
sp\\032ace.lab. A 192.0.2.11
\\000\\255.lab. A 192.0.2.12
_x._tcp.lab. SRV 0 0 0 .
{"l" * 63}.lab. A 192.0.2.13
{".".join(["n" * 63] * 3 + ["e" * 61])}. A 192.0.2.14
7.7.7.9.in-addr.arpa. PTR all.lab.
ede.lab. A 192.0.2.15
"""
_SIZES = {"a20": 20, "a80": 80, "a250": 250}  # A records
_TEXTS = {"t4": 4, "t5": 5, "t16": 16, "t80": 80, "t240": 240}  # strings of 250 octets
_CHAINS = range(1, 13)

ODD = (r"a\.b.lab", r"sp\032ace.lab", r"\000\255.lab", "l" * 63 + ".lab", ".".join(["n" * 63] * 3 + ["e" * 61]))
SPECIAL = (
    "localhost foo.localhost x.invalid invalid test x.test x.onion onion local x.local home.arpa x.home.arpa "
    "resolver.arpa _dns.resolver.arpa alt x.alt service.arpa ipv4only.arpa use-application-dns.net mask.icloud.com "
    "1.0.0.127.in-addr.arpa 5.5.168.192.in-addr.arpa 10.in-addr.arpa 1.254.169.in-addr.arpa 0.in-addr.arpa "
    "255.255.255.255.in-addr.arpa 1.113.0.203.in-addr.arpa 1.2.0.192.in-addr.arpa d.f.ip6.arpa "
    "8.b.d.0.1.0.0.2.ip6.arpa 1" + ".0" * 31 + ".ip6.arpa"
).split()
BROKEN = ("servfail.lab", "refused.lab", "notimp.lab", "formerr.lab")  # what the upstream says of these


def zone_text() -> str:
    """For knotd."""
    lines = [_LINES]
    lines += [f"{name}.lab. A 198.51.100.{number}" for name, count in _SIZES.items() for number in range(count)]
    lines += [f"{name}.lab. TXT {' '.join([_STRING] * count)}" for name, count in _TEXTS.items()]
    lines += [f"c{number}.lab. CNAME {f'c{number - 1}' if number > 1 else 'all'}.lab." for number in _CHAINS]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Question:
    """One question and how it is asked."""

    name: str
    kind: str
    tcp: bool = False
    payload: int | None = 1232  # None: no EDNS
    flags: str = "rd"
    dnssec_ok: bool = False

    def __str__(self) -> str:
        edns = "no EDNS" if self.payload is None else f"EDNS {self.payload}{' DO' if self.dnssec_ok else ''}"
        name = self.name if len(self.name) < 60 else f"{self.name[:20]}...({len(self.name)})"
        return f"{name} {self.kind} {'TCP' if self.tcp else 'UDP'} {edns} {self.flags or 'no flags'}"


_WAYS = (
    {},
    {"payload": None},
    {"payload": 512},
    {"payload": 4096},
    {"dnssec_ok": True},
    {"dnssec_ok": True, "flags": "rd cd"},
    {"flags": "rd ad"},
    {"flags": "rd cd"},
    {"tcp": True},
    {"tcp": True, "payload": None},
    {"tcp": True, "dnssec_ok": True},
    {"flags": ""},
)


def questions(number: int = 2000) -> list[Question]:
    """So many different questions: what is rare whole, of the rest a draw."""
    rng = Random(1)  # noqa: S311 - the same questions everywhere
    rare = [(name, kind) for name in (*ODD, *SPECIAL) for kind in ("A", "AAAA", "TXT")]
    rare += [(name, "PTR") for name in SPECIAL if name.endswith("arpa")] + [(name, "A") for name in BROKEN]
    rare += [(f"c{number}.lab", kind) for number in _CHAINS for kind in ("A", "MX", "CNAME")]
    rare += [(f"{name}.lab", "A") for name in _SIZES] + [(f"{name}.lab", "TXT") for name in _TEXTS]
    names = [
        "",
        "all.lab",
        "AlL.LaB",
        "onlya.lab",
        "mail.lab",
        "txt.lab",
        "x.wild.lab",
        "y.X.wild.lab",
        "deep.wild.lab",
    ]
    names += ["wild.lab", "q.wildc.lab", "la.lab", "self.lab", "dangling.lab", "empty.lab", "d.lab", "x.d.lab"]
    names += ["nope.d.lab", "ent.lab", "b.ent.lab", "a.b.ent.lab", "sub.lab", "x.sub.lab", "ns.sub.lab", "zero.lab"]
    names += [
        "long.lab",
        "day.lab",
        "private.lab",
        "mixed.lab",
        "ede.lab",
        "_x._tcp.lab",
        "lab",
        "nowhere",
        "nowhere.lab",
    ]
    names += ["deep.below.nowhere.lab", "below.all.lab", "7.7.7.9.in-addr.arpa", "svc.lab", "com", "example.com"]
    common = list(product(names, TYPES)) + rare
    pool = [Question(name, kind, **way) for (name, kind), way in product(common, _WAYS)]
    first = [Question(name, kind) for name, kind in rare]
    drawn = [question for question in rng.sample(pool, len(pool)) if question not in set(first)]
    chosen = (first + drawn)[:number]
    rng.shuffle(chosen)
    return chosen
