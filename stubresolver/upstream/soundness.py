"""What an upstream's answer is worth before anybody reads it. PURE.

One look at an octet and one comparison where all is well. An answer is sound if it is one to the question and its RCODE
speaks of the name (NOERROR, NXDOMAIN). A failure (SERVFAIL, REFUSED, ...) speaks of the server (RFC 2308 s7). Another
server may know better, unless the failure is that DNSSEC refutes the answer, which every validator finds. What answers
another question, or none, breaks the protocol.

Whether its records are well formed is for `wire.answer` to say.
"""

import enum
import struct
from typing import Final

from stubresolver.wire.codes import FORMERR, NOTIMP, OPT, RCODE, REFUSED, SERVFAIL
from stubresolver.wire.names import after_name
from stubresolver.wire.opt import EXTENDED_ERROR

_SOUND: Final = frozenset({0, 3})  # NOERROR, NXDOMAIN
_FAILURES: Final = frozenset({FORMERR, SERVFAIL, NOTIMP, REFUSED})
_OPT_BEGINS: Final = b"\0\0\x29"  # the root as its owner, and its type
_HEADER: Final = 12

# RFC 8914 s4.7 to s4.13: DNSSEC Bogus, Signature Expired, Signature Not Yet Valid, DNSKEY Missing, RRSIGs Missing,
# No Zone Key Bit Set, NSEC Missing.
_BOGUS: Final = frozenset(range(6, 13))

_FIELDS = struct.Struct(">HHIH")  # TYPE, CLASS, TTL, RDLENGTH
_OPTION = struct.Struct(">HH")


class Worth(enum.Enum):
    """What an answer is worth."""

    SOUND = enum.auto()
    FAILURE = enum.auto()  # another server may know better
    FINAL = enum.auto()  # a failure that every server finds
    VIOLATION = enum.auto()  # no answer to this question


def is_sound(query: bytes, answer: bytes) -> bool:
    """Whether the answer is sound; False may also mean that a closer look is needed.

    The question ends where the OPT record of our query begins. Should a name hold the same octets, or a query have no
    OPT record, less is compared here; `wire.answer` compares all of it.
    """
    return (answer[3] & RCODE) in _SOUND and answer.startswith(
        query[_HEADER : query.find(_OPT_BEGINS, _HEADER)], _HEADER
    )


def worth(query: bytes, answer: bytes) -> Worth:
    """What an answer of at least twelve octets is worth."""
    rcode = answer[3] & RCODE
    if not _same_question(query, answer):
        # Some servers that cannot make sense of a query send its header back and nothing else.
        return Worth.FAILURE if rcode in _FAILURES and answer[4:6] == b"\0\0" else Worth.VIOLATION
    if rcode in _FAILURES:
        return Worth.FINAL if _is_bogus(answer) else Worth.FAILURE
    return Worth.SOUND


def _same_question(query: bytes, answer: bytes) -> bool:
    """RFC 4343 s3: names are compared without regard to case."""
    if query[4:6] != b"\0\1":
        return True
    end = after_name(query, _HEADER) + 4
    return (
        answer[4:6] == b"\0\1"
        and answer[end - 4 : end] == query[end - 4 : end]
        and answer[_HEADER : end - 4].lower() == query[_HEADER : end - 4].lower()
    )


def _is_bogus(answer: bytes) -> bool:
    """Whether an extended error says that DNSSEC refutes the answer. What cannot be read says nothing."""
    try:
        return any(code in _BOGUS for code in _info_codes(answer))
    except (IndexError, struct.error):
        return False


def _info_codes(answer: bytes) -> list[int]:
    """The INFO-CODEs of the extended errors (RFC 8914 s2) in the OPT record, wherever it stands."""
    questions, *counts = struct.unpack_from(">HHHH", answer, 4)
    position = _HEADER
    for _ in range(questions):
        position = after_name(answer, position) + 4
    for _ in range(sum(counts)):
        fields = after_name(answer, position)
        kind, _klass, _ttl, length = _FIELDS.unpack_from(answer, fields)
        start, position = fields + 10, fields + 10 + length
        if kind == OPT:
            return _codes_of(answer[start:position])
    return []


def _codes_of(options: bytes) -> list[int]:
    """The INFO-CODEs among the options of an OPT record."""
    found, position = [], 0
    while position + 4 <= len(options):
        code, length = _OPTION.unpack_from(options, position)
        if code == EXTENDED_ERROR and length >= 2:
            found.append(options[position + 4] << 8 | options[position + 5])
        position += 4 + length
    return found
