"""Answers that need nobody else: to ANY, and to questions about the server itself. Pure.

* ANY (RFC 8482): one HINFO record, whatever the name. An ANY answer is the largest that there is, which makes it the
  tool of those who have others flooded; what asks it in earnest is an old mail server that wants any one record. RFC
  8482 s4.2 leaves the name's existence aside: whether there is such a name is told by every other type.
* Class CHAOS (RFC 4892): `version.bind` and `version.server` tell the product, `id.server` and `hostname.bind` the
  identity that was configured, and only that: the machine's name is nobody's business unasked. All else is refused.
"""

import struct
from typing import Final

from stubresolver.wire.codes import CH, HINFO, IN, NOERROR, REFUSED, TXT
from stubresolver.wire.edns import error_reply, short_reply
from stubresolver.wire.opt import extended_error
from stubresolver.wire.query import Query

CLASS_CH: Final = CH.to_bytes(2)
_NOT_SUPPORTED: Final = 21  # RFC 8914 s4.22
_PROHIBITED: Final = 18  # RFC 8914 s4.19
_SYNTHESIZED: Final = 29  # IANA's registry of extended errors (RFC 8914 s5.2)

_RECORD = struct.Struct(">HHHIH")  # owner as a compression pointer, TYPE, CLASS, TTL, RDLENGTH
_TO_QUESTION: Final = 0xC00C

_ANY_TTL: Final = 3600  # RFC 8482 s4.2: a TTL of an operator's choice; caches between here and the asker may keep it
_ANY_RDATA: Final = b"\x07RFC8482\0"  # RFC 8482 s4.2: CPU "RFC8482", OS empty

_VERSION_NAMES: Final = {b"\7version\4bind\0", b"\7version\6server\0"}
_IDENTITY_NAMES: Final = {b"\2id\6server\0", b"\x08hostname\4bind\0"}


def any_reply(query: Query) -> bytes:
    """The reply to a query of type ANY."""
    record = _RECORD.pack(_TO_QUESTION, HINFO, IN, _ANY_TTL, len(_ANY_RDATA)) + _ANY_RDATA
    return short_reply(query, NOERROR, answers=1, records=record, options=extended_error(_SYNTHESIZED, b""))


def chaos_reply(query: Query, version: str, identity: str) -> bytes:
    """The reply to a query of class CHAOS; `identity` may be empty."""
    if query.type == TXT and query.name in _VERSION_NAMES:
        return _text(query, version)
    if query.type == TXT and query.name in _IDENTITY_NAMES:
        if identity:
            return _text(query, identity)
        return error_reply(query, REFUSED, _PROHIBITED, "no identity is configured")
    return error_reply(query, REFUSED, _NOT_SUPPORTED, "version.bind and id.server are known here")


def _text(query: Query, text: str) -> bytes:
    """One TXT record of class CHAOS that nobody keeps (TTL 0); 255 octets of the text at most (RFC 1035 s3.3)."""
    octets = text.encode()[:255]
    rdata = len(octets).to_bytes(1) + octets
    record = _RECORD.pack(_TO_QUESTION, TXT, CH, 0, len(rdata)) + rdata
    return short_reply(query, NOERROR, answers=1, records=record)
