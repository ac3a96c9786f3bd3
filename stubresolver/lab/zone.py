"""The lab's whole DNS: one zone at the root, answered from memory by dnspython. Whatever is not in it does not exist.

    example.lab       A, AAAA, TXT, MX      www.example.lab   CNAME to it
    big.lab           TXT of about 4 kB    huge.lab          TXT of about 60 kB
    *.wild.lab        A                     dns.lab           the servers of the lab themselves

Octets in, octets out; junk never raises. RFC 1034 s4.3.2 (algorithm), RFC 2308 (negative answers), RFC 6891 (EDNS).
"""

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
import dns.rrset
import dns.zone

_ZONE = """
@                 3600 SOA   dns.lab. people.lab. 1 7200 3600 1209600 300
@                 3600 NS    dns.lab.
dns.lab.          3600 A     127.0.0.1
dns.lab.          3600 AAAA  ::1
logs.lab.         3600 A     127.0.0.1
example.lab.       300 A     192.0.2.1
example.lab.       300 A     192.0.2.2
example.lab.       300 AAAA  2001:db8::1
example.lab.       300 TXT   "an answer from the embedded lab"
example.lab.       300 MX    10 mail.example.lab.
mail.example.lab.  300 A     192.0.2.25
www.example.lab.   300 CNAME example.lab.
*.wild.lab.         60 A     192.0.2.80
"""
_HEADER = 12  # octets, RFC 1035 s4.1.1
_PAYLOAD = 1232  # octets of UDP that we claim to take; DNS flag day 2020
_WILDCARD = dns.name.from_text("*.wild.lab.")


class LabZone:
    """The zone, and its answers."""

    def __init__(self) -> None:
        self._zone = dns.zone.from_text(_ZONE, origin=dns.name.root, relativize=False)
        for name, strings in (("big.lab.", 16), ("huge.lab.", 240)):
            text = " ".join(f'"{number:03}{"." * 246}"' for number in range(strings))
            rdataset = dns.rdataset.from_text("IN", "TXT", 300, text)
            self._zone.replace_rdataset(name, rdataset)

    def answer(self, wire: bytes) -> bytes | None:
        """The answer to a query, FORMERR to what is none, and None to what must not be answered at all."""
        # RFC 1035 s4.1.1: the first bit of the flags says "whether this message is a query (0), or a response (1)"
        if len(wire) < _HEADER or wire[2] & 0x80:
            return None
        if wire[2] >> 3 != dns.opcode.QUERY:
            return _bare(wire, dns.rcode.NOTIMP)
        try:
            query = dns.message.from_wire(wire)
        except (dns.exception.DNSException, ValueError):
            return _bare(wire, dns.rcode.FORMERR)
        if len(query.question) != 1:
            return _bare(wire, dns.rcode.FORMERR)
        # The order of the zone, so that the same query has the same answer.
        return self._respond(query).to_wire(max_size=65535, want_shuffle=False)

    def _respond(self, query: dns.message.Message) -> dns.message.Message:
        # RFC 8467 s4.1: a padded query gets a padded answer; dnspython does so.
        response = dns.message.make_response(query, recursion_available=True, our_payload=_PAYLOAD)
        if query.edns >= 0:
            response.ednsflags |= query.ednsflags & dns.flags.DO  # RFC 3225 s3: the bit is copied
        if query.edns > 0:
            response.set_rcode(dns.rcode.BADVERS)  # RFC 6891 s6.1.3
        elif query.question[0].rdclass != dns.rdataclass.IN:
            response.set_rcode(dns.rcode.REFUSED)
        else:
            self._look_up(query.question[0], response)
        return response

    def _look_up(self, question: dns.rrset.RRset, response: dns.message.Message) -> None:
        """RFC 1034 s4.3.2 for one zone without delegations: the aliases, then the records that they lead to."""
        name = question.name
        while question.rdtype != dns.rdatatype.CNAME and (alias := self._records(name, dns.rdatatype.CNAME)):
            response.answer.append(alias)
            name = alias[0].target
        if records := self._records(name, question.rdtype):
            response.answer.append(records)
            return
        if not self._exists(name):
            response.set_rcode(dns.rcode.NXDOMAIN)
        response.authority.append(self._zone.find_rrset(dns.name.root, dns.rdatatype.SOA))  # RFC 2308 s3

    def _records(self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> dns.rrset.RRset | None:
        records = self._zone.get_rrset(name, rdtype)
        if records is None and _is_wild(name) and (wild := self._zone.get_rdataset(_WILDCARD, rdtype)):
            return dns.rrset.from_rdata_list(name, wild.ttl, list(wild))
        return records

    def _exists(self, name: dns.name.Name) -> bool:
        """True if the name or anything beneath it is in the zone (RFC 8020: otherwise it is NXDOMAIN)."""
        return _is_wild(name) or any(owner.is_subdomain(name) for owner in self._zone)


def _is_wild(name: dns.name.Name) -> bool:
    """RFC 4592 s3.3.1: every name beneath the wildcard's parent; the zone has none there of its own."""
    return name.is_subdomain(_WILDCARD.parent()) and name != _WILDCARD.parent()


def _bare(wire: bytes, rcode: dns.rcode.Rcode) -> bytes:
    """A header alone: the query's id, opcode and RD, and what is wrong."""
    flags = 0x8000 | int.from_bytes(wire[2:4]) & 0x7900 | rcode
    return wire[:2] + flags.to_bytes(2) + bytes(8)
