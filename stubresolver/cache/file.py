"""The cache as one file: octets out, octets in. Where they are kept and who may read them is not known here.

    the line "stubresolver cache 1", BLAKE2b-256 of all that follows, then in MessagePack: what was demanded of the
    upstreams, and of each answer its key, when it came and when it ends (seconds since 1970), and what `dump` gave

`unpack` raises `BadInput` with one sentence for whatever is not such a file, and never anything else. The digest finds
damage; it is no signature, so every answer is proved as if it had come from an upstream just now (`Answer.load`). Only
answers are kept, no failures: they would be over by then.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from stubresolver.cache.entry import Entry
from stubresolver.errors import BadInput, MalformedAnswer
from stubresolver.wire.answer import Answer

_HEAD: Final = b"stubresolver cache 1\n"
_DIGEST: Final = 32


class _Record(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One answer."""

    key: bytes
    came: int
    end: int
    answer: bytes


class _Body(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What follows the digest."""

    demands: str
    records: list[_Record]


@dataclass(frozen=True, slots=True)
class Kept:
    """One answer of an earlier process, with its times by the clock of this one."""

    key: bytes
    answer: Answer
    came: float
    end: float


def pack(kept: Iterable[tuple[Answer, Entry]], demands: str, now: float, wall: float) -> bytes:
    """The file of these entries; `wall` is the wall clock's time at `now`, in seconds since 1970."""
    ahead = wall - now
    records = [
        _Record(entry.key, int(entry.came + ahead), int(entry.end + ahead), answer.dump()) for answer, entry in kept
    ]
    body = msgspec.msgpack.encode(_Body(demands, records))
    return _HEAD + hashlib.blake2b(body, digest_size=_DIGEST).digest() + body


def unpack(octets: bytes, demands: str, now: float, wall: float) -> Iterator[Kept]:
    """The answers in a file that was written under the same demands; those that do not prove are left out.

    Raises `BadInput`, before the first is given, where there is nothing to be had.
    """
    body = _body(octets)
    if body.demands != demands:
        raise BadInput("kept under other upstreams, another policy or another log list: forgotten")
    return _prove(body.records, wall - now)


def _body(octets: bytes) -> _Body:
    """What the file says; raises `BadInput`."""
    if not octets.startswith(_HEAD):
        raise BadInput("not a cache of this version")
    start = len(_HEAD) + _DIGEST
    if hashlib.blake2b(octets[start:], digest_size=_DIGEST).digest() != octets[len(_HEAD) : start]:
        raise BadInput("damaged: its digest is another")
    try:
        return msgspec.msgpack.decode(octets[start:], type=_Body)
    except (ValueError, RecursionError) as error:  # of msgspec: its own, and UnicodeDecodeError
        raise BadInput(f"not a cache: {error}") from None


def _prove(records: list[_Record], ahead: float) -> Iterator[Kept]:
    """Each record that is an answer to its key, with its times by the clock that the wall clock is `ahead` of."""
    for record in records:
        try:
            answer = Answer.load(record.answer, record.key)
        except MalformedAnswer:
            continue
        yield Kept(record.key, answer, record.came - ahead, record.end - ahead)
