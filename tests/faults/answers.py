"""What the lab's upstreams answer: computable from the name alone, so that everyone can tell a wrong answer. Pure.

    a-…     one A record in 198.18.0.0/15 (RFC 2544, benchmarking), by a hash of the name
    ttl2-…  the same, with a TTL of 2 seconds; any number up to 9999
    big-…   TXT of about 4 kB        huge-…  TXT of about 60 kB, both of octets from the hash
    no-…    NXDOMAIN                 void-…  NODATA

Letters count for nothing (RFC 4343). RFC 1035 s4.1 (messages), RFC 2308 s3 (SOA in negative answers), RFC 6891 (OPT).
"""

import hashlib
import re

ZONE = "plaintextproof.lab"  # one label that stands in every question, so that a capture can be searched for it
A, SOA, TXT, OPT = 1, 6, 16, 41
NOERROR, SERVFAIL, NXDOMAIN, REFUSED = 0, 2, 3, 5
_HEADER = 12
_TTL = 300
_OPT = bytes.fromhex("00 0029 04d0 00000000 0000")
_SOA = bytes.fromhex("00 0006 0001 0000012c 0016 00 00 00000001 00001c20 00000e10 00127500 0000012c")


def answer(query: bytes, rcode: int = NOERROR) -> bytes:
    """The answer to a query with one question, or a bare one with another `rcode`."""
    end = question_end(query)
    name = _text(query, end)
    kind = int.from_bytes(query[end - 4 : end - 2])
    records, authority = ([], []) if rcode else _records(name, kind)
    code = rcode or (NXDOMAIN if name.startswith("no-") else NOERROR)
    additional = _OPT if int.from_bytes(query[10:12]) else b""
    flags = 0x8180 | (query[3] & 0x10) | code  # QR RD RA, CD as it came
    counts = (1, len(records), len(authority), bool(additional))
    head = query[:2] + flags.to_bytes(2) + b"".join(int(each).to_bytes(2) for each in counts)
    return head + query[_HEADER:end] + b"".join((*records, *authority)) + additional


def address_of(name: str) -> str:
    """The one address of a name."""
    digest = _digest(name)
    return f"198.{18 + digest[0] % 2}.{digest[1]}.{digest[2]}"


def text_of(name: str) -> bytes:
    """The data of the one TXT record of a big or huge name: character strings of 255 octets."""
    strings = 16 if name.lower().startswith("big-") else 230
    return b"".join(
        b"\xff" + hashlib.shake_128(_digest(name) + bytes((number,))).digest(255) for number in range(strings)
    )


def question_end(message: bytes) -> int:
    """Where the first question of a message ends."""
    position = _HEADER
    while message[position]:
        position += 1 + message[position]
    return position + 5


def _records(name: str, kind: int) -> tuple[list[bytes], list[bytes]]:
    ttl = int(found[1]) if (found := re.match(r"ttl(\d{1,4})-", name)) else _TTL
    data = b""
    if name.startswith(("big-", "huge-")):
        data = text_of(name) if kind == TXT else b""
    elif kind == A and not name.startswith(("no-", "void-")):
        data = bytes(int(part) for part in address_of(name).split("."))
    if not data:
        return [], [_SOA]
    # 0xc00c points at the question's name
    return [b"\xc0\x0c" + kind.to_bytes(2) + b"\x00\x01" + ttl.to_bytes(4) + len(data).to_bytes(2) + data], []


def _digest(name: str) -> bytes:
    return hashlib.blake2s(name.lower().removesuffix(".").encode()).digest()


def _text(query: bytes, end: int) -> str:
    labels, position = [], _HEADER
    while query[position]:
        labels.append(query[position + 1 : position + 1 + query[position]].decode("ascii", "replace").lower())
        position += 1 + query[position]
    return ".".join(labels)
