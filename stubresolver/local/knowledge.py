"""Everything that is known here, asked in order: what the person wrote, then what standards say, then what is refused.

    1. static records      the configuration's own words
    2. hosts files         in which localhost is never anything but loopback (RFC 6761 s6.3) while that rule is on
    3. special names       RFC 6761 and its companions
    4. exceptions, then block lists
    ... then the upstream; and of what it answers:
    5. aliases that lead to a blocked name
    6. addresses that lead into the private network

`reply` is called for what the cache does not have, `vet` once for each answer that an upstream has given. Immutable: a
file that changes makes a new one. What was counted lives in `LocalCounts`, which outlives it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from stubresolver.local.blocklist import BlockLists
from stubresolver.local.hosts import Hosts
from stubresolver.local.rebinding import RebindingGuard, leads_here, withheld
from stubresolver.local.records import StaticRecords, shown
from stubresolver.local.replies import FILE_TTL, Withheld
from stubresolver.local.special import LOCALHOST, SpecialNames
from stubresolver.wire.answer import Answer
from stubresolver.wire.codes import AAAA, A
from stubresolver.wire.query import Query

_ARPA: Final = b"\x04arpa\0"
_LOOPBACKS: Final = frozenset({bytes((127, 0, 0, 1)), bytes(15) + b"\1"})
_UNVERIFIED_TTL: Final = 5  # seconds: a login is soon done, and then all is as it was
_OCTETS: Final = {A: 4, AAAA: 16}


@dataclass(slots=True)
class LocalCounts:
    """What local knowledge has done since the start, without a name that was asked for."""

    blocked: int = 0  # by a list, asked for or behind an alias
    rebinding: Counter[str] = field(default_factory=Counter)  # by range of addresses


class LocalKnowledge:
    """Answers what needs no upstream, and judges what an upstream answered."""

    __slots__ = (
        "_block_aliases",
        "_blocks",
        "_counts",
        "_guard",
        "_hosts",
        "_records",
        "_report",
        "_special",
        "problems",
    )

    def __init__(
        self,
        *,
        special: SpecialNames | None = None,
        hosts: Hosts | None = None,
        records: StaticRecords | None = None,
        blocks: BlockLists | None = None,
        block_aliases: bool = True,
        guard: RebindingGuard | None = None,
        counts: LocalCounts | None = None,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`report` is called with a line for a person, which holds no name that was asked for."""
        self._special = special or SpecialNames()
        self._hosts = _without_loopback(hosts or Hosts(), self._special)
        self._records = records or StaticRecords()
        self._blocks = blocks
        self._block_aliases = block_aliases
        self._guard = guard
        self._counts = counts or LocalCounts()
        self._report = report
        self.problems = tuple(self._lost_aliases())

    def reply(self, query: Query) -> bytes | None:
        """The reply to a query that needs no upstream; None for all others."""
        name = query.name
        if name in self._records.owners:
            return self._records.reply(query, name, self._elsewhere)
        found = self._hosts.addresses.get(name)
        if found is not None:
            return self._hosts.reply(query, found)
        if name.endswith(_ARPA) and (reverse := self._hosts.reverse_reply(query, name)) is not None:
            return reverse
        special = self._special.reply(query, name)
        if special is not None or self._blocks is None:
            return special
        blocked = self._blocks.find(name)
        if blocked is None:
            return None
        self._counts.blocked += 1
        return blocked.render(query, 0)

    def vet(self, query: Query, answer: Answer) -> Withheld | None:
        """What must take the place of an answer that an upstream gave; None for nearly all."""
        if self._blocks is not None and self._block_aliases:
            blocked = self._blocked_alias(self._blocks, query, answer)
            if blocked is not None:
                self._counts.blocked += 1
                return blocked
        if self._guard is None:
            return None
        found = self._guard.vet(query.name, answer.addresses())
        if found is None:
            return None
        self._counts.rebinding[found] += 1
        times = self._counts.rebinding[found]
        if times & (times - 1) == 0:  # the 1st, 2nd, 4th, 8th, ...: a page that tries all day fills no journal
            self._report(f"rebinding protection: an address in {found} for a public name, withheld; {times} so far")
        return withheld(found)

    def vet_unverified(self, query: Query, answer: Answer) -> Withheld | None:
        """The same of what a captive portal's server has answered, for as long as such an answer lives.

        Its page may well be of the private network. It is at no loopback address.
        """
        blocked = self._blocked_alias(self._blocks, query, answer) if self._blocks and self._block_aliases else None
        if blocked is None:
            found = next((found for _, address in answer.addresses() if (found := leads_here(address))), None)
            blocked = None if found is None else withheld(found)
        return None if blocked is None else replace(blocked, ttl=_UNVERIFIED_TTL)

    def _blocked_alias(self, blocks: BlockLists, query: Query, answer: Answer) -> Withheld | None:
        """What is answered where an alias leads to a blocked name, unless the name that was asked is freed."""
        name = query.name
        for owner in answer.owners(query):
            if owner != name and (blocked := blocks.find(owner)) is not None:
                return None if blocks.allowed.find(name) else blocked
        return None

    def _elsewhere(self, name: bytes, qtype: int) -> Iterable[tuple[int, bytes]] | None:
        """What a name without static records has here, for aliases that lead to it."""
        found = self._hosts.addresses.get(name)
        if found is not None:
            return [(FILE_TTL, address) for address in found if len(address) == _OCTETS.get(qtype)]
        return self._special.addresses(name, qtype)

    def _lost_aliases(self) -> Iterator[str]:
        """Aliases that end at a name which is not known here."""
        for owner, target in self._records.aliases():
            if target not in self._records.owners and self._elsewhere(target, A) is None:
                yield (
                    f"local.records: {shown(owner)} is an alias of {shown(target)}, which is not known here: the alias"
                    " is answered as it stands, and programs that do not follow it themselves find no address"
                )


def _without_loopback(hosts: Hosts, special: SpecialNames) -> Hosts:
    """Hosts without what the rule about localhost answers: that is loopback in both families, whatever a file says."""
    if not special.holds(LOCALHOST):
        return hosts
    addresses = {name: found for name, found in hosts.addresses.items() if not name.endswith(LOCALHOST)}
    names = {address: name for address, name in hosts.names.items() if address not in _LOOPBACKS}
    return replace(hosts, addresses=addresses, names=names)
