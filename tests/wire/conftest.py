"""Strategies and mutations that the tests of this folder share, as fixtures and through hypothesis' own registry."""

import dns.name
import dns.rdata
import dns.rrset
from hypothesis import strategies as st

label = st.binary(min_size=1, max_size=63) | st.text("abcXYZ-019", min_size=1, max_size=12).map(str.encode)


def _shorten(labels):
    while sum(len(one) + 1 for one in labels) > 254:
        labels = labels[1:]
    return dns.name.Name([*labels, b""])


st.register_type_strategy(dns.name.Name, st.lists(label, max_size=8).map(_shorten))

_name = st.sampled_from(["a.example.", "B.example.", "example.", ".", "ns.x.y.example.", "mail.other."])
_number = st.integers(0, 65535)
_RDATA = {
    "A": st.integers(0, 255).map(lambda n: f"192.0.2.{n}"),
    "AAAA": st.integers(0, 65535).map(lambda n: f"2001:db8::{n:x}"),
    "CNAME": _name,
    "NS": _name,
    "PTR": _name,
    "DNAME": _name,
    "MX": st.builds("{} {}".format, _number, _name),
    "SRV": st.builds("{} {} {} {}".format, _number, _number, _number, _name),
    "TXT": st.text("abc", max_size=200).map('"{}"'.format),
    "SOA": st.builds("{} {} 1 2 3 4 {}".format, _name, _name, st.integers(0, 5000)),
    "TYPE65280": st.binary(max_size=20).map(lambda b: rf"\# {len(b)} {b.hex()}"),
}
_rrset = st.sampled_from(sorted(_RDATA)).flatmap(
    lambda kind: st.builds(
        lambda name, ttl, rdata: dns.rrset.from_text(name, ttl, "IN", kind, rdata),
        _name,
        st.integers(0, 2**31 - 1),
        _RDATA[kind],
    )
)
st.register_type_strategy(dns.rrset.RRset, _rrset)
