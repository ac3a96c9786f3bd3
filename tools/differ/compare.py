"""What a reply says, and in which aspects two replies to one question differ. No opinions here: see `classes`."""

import socket
import struct
from dataclasses import dataclass, field

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdatatype

from tools.differ.zone import Question

_PATIENCE = 8.0  # seconds; no contender takes as long
Record = tuple[str, str, bytes]  # owner in lower case, type, RDATA


@dataclass(frozen=True)
class Reply:
    """What is compared of one reply."""

    rcode: str
    flags: frozenset[str]
    answer: dict[Record, int]  # with TTL
    authority: dict[Record, int]
    additional: frozenset[Record]
    edns: bool
    errors: tuple[tuple[int, str], ...]  # RFC 8914
    octets: int
    question: bytes = field(repr=False)


def ask(question: Question, port: int, number: int) -> bytes:
    """The octets of the reply; b"" where none comes."""
    wire = to_wire(question, number)
    try:
        return _ask_tcp(wire, port) if question.tcp else _ask_udp(wire, port)
    except (OSError, EOFError):
        return b""


def to_wire(question: Question, number: int) -> bytes:
    """The query; letters as they are written."""
    query = dns.message.make_query(question.name or ".", question.kind, use_edns=False)
    query.flags = dns.flags.from_text(question.flags.upper())
    if question.payload is not None:
        query.use_edns(0, dns.flags.DO if question.dnssec_ok else 0, payload=question.payload)
    query.id = number
    return query.to_wire()


def read(octets: bytes) -> Reply | None:
    """What a reply says; None for none that can be read."""
    try:
        message = dns.message.from_wire(octets)
    except (dns.exception.DNSException, ValueError):
        return None
    question = message.question[0].name.to_wire() if message.question else b""
    return Reply(
        rcode=dns.rcode.to_text(message.rcode()),
        flags=frozenset(dns.flags.to_text(message.flags).lower().split()) | _edns_flags(message),
        answer=_records(message.answer),
        authority=_records(message.authority),
        additional=frozenset(_records(message.additional)),
        edns=message.edns >= 0,
        errors=tuple((int(option.code), option.text or "") for option in message.options if _is_error(option)),
        octets=len(octets),
        question=question or b"",
    )


def differences(ours: Reply | None, theirs: Reply | None) -> tuple[str, ...]:
    """The aspects in which two replies differ; nothing where they agree."""
    if ours is None or theirs is None:
        return () if ours is theirs else ("silence",)
    found = []
    if ours.rcode != theirs.rcode:
        found.append("rcode")
    found += [f"flag {flag}" for flag in sorted(ours.flags ^ theirs.flags)]
    if ours.answer.keys() != theirs.answer.keys():
        found.append("answer")
    if ours.authority.keys() != theirs.authority.keys():
        found.append("authority")
    if ours.additional != theirs.additional:
        found.append("additional")
    if ttl_difference(ours, theirs) > 1:
        found.append("ttl")
    if ours.edns != theirs.edns:
        found.append("edns")
    if {code for code, _ in ours.errors} != {code for code, _ in theirs.errors}:
        found.append("extended error")
    if ours.question != theirs.question:
        found.append("question")
    return tuple(found)


def ttl_difference(ours: Reply, theirs: Reply) -> int:
    """The largest difference of the TTLs of a record that both have, in seconds."""
    pairs = ((ours.answer, theirs.answer), (ours.authority, theirs.authority))
    return max((abs(a[key] - b[key]) for a, b in pairs for key in a.keys() & b.keys()), default=0)


def _ask_udp(wire: bytes, port: int) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(_PATIENCE)
        sock.connect(("127.0.0.1", port))
        sock.send(wire)
        return sock.recv(65535)


def _ask_tcp(wire: bytes, port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE) as sock:
        sock.sendall(struct.pack(">H", len(wire)) + wire)
        reader = sock.makefile("rb")
        size = reader.read(2)
        return reader.read(int.from_bytes(size)) if len(size) == 2 else b""


def _records(section: list) -> dict[Record, int]:
    return {
        (rrset.name.canonicalize().to_text(), dns.rdatatype.to_text(rrset.rdtype), _canonical(rdata)): rrset.ttl
        for rrset in section
        for rdata in rrset
    }


def _canonical(rdata: object) -> bytes:
    octets = rdata.to_digestable()  # type: ignore[attr-defined]
    return bytes(octets)


def _edns_flags(message: dns.message.Message) -> frozenset[str]:
    return frozenset({"do"} if message.edns >= 0 and message.ednsflags & dns.flags.DO else ())


def _is_error(option: dns.edns.Option) -> bool:
    return option.otype == dns.edns.OptionType.EDE
