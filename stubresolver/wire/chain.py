"""What an answer section is about: the chain of aliases from the question's name to the one that has the records.

The law of this file: a record in the answer section belongs to a name that the question leads to by CNAME (RFC 1034
s3.6.2) or DNAME (RFC 6672), in whatever order the records stand, or the whole message is refused. RFC 2181 s5.4.1 ranks
what an answer section says above all else, so what stands in it unasked would be believed. Dropping the record instead
would break the compression pointers into it, and no resolver that follows aliases sends any. Also refused:

* a chain that comes back to a name of its own, or is longer than 16 (BIND and unbound give up at 11);
* two CNAME records of one name that differ, or one beside another type: RFC 2181 s10.1, "for any label in the DNS (any
  class) exactly one of the following is true: one CNAME record exists, optionally accompanied by SIG, NXT, and KEY RRs"
  (RRSIG and NSEC took their place, RFC 4035 s2.5).

The octets were proved well formed before. Pure.
"""

from collections.abc import Iterator
from typing import Final

from stubresolver.errors import MalformedAnswer
from stubresolver.wire.codes import CNAME, DNAME, KEY, NSEC, RRSIG
from stubresolver.wire.names import after_name, is_within, read_name, read_once

_LONGEST: Final = 16
_BESIDE_CNAME: Final = {CNAME, RRSIG, NSEC, KEY}


def follow(wire: bytes, position: int, answers: int, kind: int) -> tuple[bytes, bool]:
    """The name that the question leads to, and whether the answer section has a record of type `kind` on the way.

    `position` is where the question ends, `answers` how many records follow it. Raises `MalformedAnswer`.
    """
    kinds: dict[bytes, set[int]] = {}
    aliases: dict[int, dict[bytes, bytes]] = {CNAME: {}, DNAME: {}}
    first = read_name(wire, 12)
    names = {12: first}  # those that pointers are likely to lead to, by where they start
    for owner, here, rdata in _records(wire, position, answers, names):
        kinds.setdefault(owner, set()).add(here)
        known = aliases.get(here)
        if known is not None:
            target = names[rdata] = read_once(wire, rdata, names)
            if known.setdefault(owner, target) != target:
                raise MalformedAnswer(f"two different records of type {here} at one name, expected one")
    if any(kinds[owner] - _BESIDE_CNAME for owner in aliases[CNAME]):
        raise MalformedAnswer("a CNAME record beside another type, expected it alone at its name")
    chain = _chain(first, aliases[CNAME], aliases[DNAME], may_loop=kind == CNAME)
    for owner in kinds.keys() - chain:
        if owner not in aliases[DNAME] or not any(is_within(name, owner) for name in chain):
            raise MalformedAnswer("a record in the answer section at a name that the question does not lead to")
    return chain[-1], any(kind in kinds.get(name, ()) for name in chain)


def _records(wire: bytes, position: int, answers: int, names: dict[int, bytes]) -> Iterator[tuple[bytes, int, int]]:
    """Owner, type and start of RDATA of each record; `names` are those that were read, by where they start."""
    for _ in range(answers):
        owner = read_once(wire, position, names)
        rdata = after_name(wire, position) + 10
        yield owner, wire[rdata - 10] << 8 | wire[rdata - 9], rdata
        position = rdata + (wire[rdata - 2] << 8 | wire[rdata - 1])


def _chain(name: bytes, targets: dict[bytes, bytes], substitutes: dict[bytes, bytes], *, may_loop: bool) -> list[bytes]:
    """The names from the first one on, each being what its CNAME, or else the nearest DNAME above it, says.

    Who asks for the CNAME record itself wants nobody to follow it (RFC 1034 s3.6.2): where it leads is no fault then.
    """
    chain = [name]
    while (following := targets.get(name) or _substituted(name, substitutes)) is not None:
        if following in chain:
            if may_loop:
                break
            raise MalformedAnswer("a chain of aliases that comes back to itself")
        chain.append(following)
        if len(chain) > _LONGEST + 1:
            raise MalformedAnswer(f"a chain of more than {_LONGEST} aliases")
        name = following
    return chain


def _substituted(name: bytes, substitutes: dict[bytes, bytes]) -> bytes | None:
    """The name with the end that a DNAME redirects replaced (RFC 6672 s2.2); None if none does."""
    position = 0
    while substitutes and name[position]:
        position += name[position] + 1  # RFC 6672 s2.3: the owner itself is not redirected
        target = substitutes.get(name[position:])
        if target is not None:
            return name[:position] + target
    return None
