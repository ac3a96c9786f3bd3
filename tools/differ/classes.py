"""Every kind of difference that is known, with its reason; what none of them explains is a failure.

A class says which aspects of a difference it explains, for one question and one other program. It is as narrow as its
reason: it looks at what both replies say, not at the name alone, wherever there is something to look at.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tools.differ.compare import Record, Reply
from tools.differ.contenders import KRESD, UNBOUND
from tools.differ.zone import BROKEN, SPECIAL, Question

_WORDS = {"authority", "additional", "extended error", "flag aa"}
_WHOLE = {"rcode", "answer", "ttl", "flag tc", "flag rd", *_WORDS}
_SYNTHESIZED = 29  # IANA's registry of extended errors
_SECOND = 1  # clocks are read at different moments


@dataclass(frozen=True)
class Case:
    """One question, and what two programs replied."""

    question: Question
    ours: Reply
    theirs: Reply
    who: str
    elapsed: float  # seconds since the first question

    @property
    def name(self) -> str:
        """Of the question, in lower case."""
        return self.question.name.lower()

    def is_below(self, *zones: str) -> bool:
        """Whether the name is one of these or below it."""
        return any(self.name == zone or self.name.endswith(f".{zone}") for zone in zones)


@dataclass(frozen=True)
class Class:
    """One kind of difference."""

    title: str
    reason: str
    explains: Callable[[Case], set[str]]


def classify(case: Case, aspects: tuple[str, ...]) -> tuple[list[Class], set[str]]:
    """The classes that explain a difference, and the aspects that none explains."""
    left, found = set(aspects), []
    for each in CLASSES:
        explained = each.explains(case) & left
        if explained:
            found.append(each)
            left -= explained
    return found, left


def _special(case: Case) -> set[str]:
    zones = {owner for owner, kind, _ in case.ours.authority if kind == "SOA"}
    said_here = any(code == _SYNTHESIZED for code, _ in case.ours.errors) or (zones and zones != {"."})
    addresses = not case.ours.edns and case.ours.answer and case.is_below("localhost", "arpa")
    return _WHOLE if case.is_below(*SPECIAL) and (said_here or addresses) else set()


def _any(case: Case) -> set[str]:
    ours = [kind for _, kind, _ in case.ours.answer]
    return _WHOLE if case.question.kind == "ANY" and ours == ["HINFO"] else set()


def _rebinding(case: Case) -> set[str]:
    withheld = not case.ours.answer and case.ours.rcode == "NOERROR"
    return {"answer", *_WORDS} if case.is_below("private.lab", "mixed.lab") and withheld else set()


def _snooping(case: Case) -> set[str]:
    theirs = {UNBOUND: "SERVFAIL", KRESD: "REFUSED"}[case.who]
    refused = "rd" not in case.question.flags and case.theirs.rcode == theirs and not case.theirs.answer
    return _WHOLE - {"flag rd"} if refused else set()


def _rd_bit(case: Case) -> set[str]:
    unasked = case.who == UNBOUND and "rd" not in case.question.flags and "rd" in case.theirs.flags
    return {"flag rd"} if unasked else set()


def _truncated_chain(case: Case) -> set[str]:
    both = case.name.startswith("c1") and "tc" in case.ours.flags & case.theirs.flags
    return {"answer", "rcode"} if both else set()


def _loop(case: Case) -> set[str]:
    failed = case.ours.rcode == "SERVFAIL" and case.theirs.rcode in {"SERVFAIL", "NOERROR"}
    return {"rcode", "answer", "extended error"} if failed and case.name in {"la.lab", "lb.lab", "self.lab"} else set()


def _failure(case: Case) -> set[str]:
    return {"rcode", "extended error"} if case.name in BROKEN and case.theirs.rcode == "SERVFAIL" else set()


def _passed_on(case: Case) -> set[str]:
    return {"extended error"} if case.ours.errors and not case.theirs.errors else set()


def _referral(case: Case) -> set[str]:
    return {"authority", "additional"} if case.is_below("sub.lab") and not case.ours.answer else set()


def _extra(case: Case) -> set[str]:
    return {"additional"} if case.ours.rcode == case.theirs.rcode else set()


def _proofs(case: Case) -> set[str]:
    more = {kind for _, kind, _ in case.ours.authority.keys() ^ case.theirs.authority.keys()}
    if case.who != KRESD or not more <= {"NSEC", "RRSIG"}:
        return set()
    asked_for_nsec = case.question.kind == "NSEC" and not case.question.dnssec_ok
    wild = case.is_below("wild.lab", "wildc.lab") and case.question.dnssec_ok
    return {"authority"} if asked_for_nsec or wild else set()


def _beside_alias(case: Case) -> set[str]:
    if case.who != UNBOUND or case.question.kind != "NSEC":
        return set()
    theirs = {(owner, kind) for owner, kind, _ in case.theirs.answer}
    followed = (f"{case.name}.", "CNAME") in theirs or case.theirs.rcode == "SERVFAIL"
    aliases = {"empty.lab", "dangling.lab", "la.lab", "self.lab"}
    return {"rcode", "answer", "authority", "additional"} if followed and case.name in aliases else set()


def _age(case: Case) -> set[str]:
    return {"ttl"} if all(abs(a - b) <= case.elapsed + _SECOND for _, a, b in _ttls(case)) else set()


def _other_ttl(*known: Callable[[Case, Record, int, int], bool]) -> Callable[[Case], set[str]]:
    """A TTL is another for one of these reasons, every other one for its age."""

    def explains(case: Case) -> set[str]:
        rows = [row for row in _ttls(case) if abs(row[1] - row[2]) > case.elapsed + _SECOND]
        return {"ttl"} if rows and all(any(one(case, *row) for one in known) for row in rows) else set()

    return explains


def _ttls(case: Case) -> Iterator[tuple[Record, int, int]]:
    for ours, theirs in ((case.ours.answer, case.theirs.answer), (case.ours.authority, case.theirs.authority)):
        for key in ours.keys() & theirs.keys():
            yield key, ours[key], theirs[key]


def _least(case: Case, _key: Record, ours: int, theirs: int) -> bool:
    return case.who == KRESD and ours == 0 and theirs <= 5


def _synthesized(case: Case, key: Record, _ours: int, theirs: int) -> bool:
    return case.who == UNBOUND and case.is_below("d.lab") and key[1] == "CNAME" and theirs == 0


def _apex(case: Case, key: Record, _ours: int, theirs: int) -> bool:
    return case.who == KRESD and key[1] in {"SOA", "RRSIG"} and case.question.kind == "SOA" and theirs <= 900


CLASSES = (
    Class(
        "special-use names",
        "Answered here (RFC 6761, 6303, 7686, 8375, 9462, 9476, 6762, 8880, 9665), with the SOA record of the special "
        "zone, AA clear and the extended error 29 that names the RFC. The others know fewer of them, answer them with "
        "AA, or ask the upstream. `use-application-dns.net` and the like are asked upstream by all. See "
        "[local-names.md](local-names.md).",
        _special,
    ),
    Class(
        "ANY",
        "Answered here with one HINFO record (RFC 8482 s4.2), whatever the name. unbound gives what it has or can get; "
        "knot-resolver says SERVFAIL.",
        _any,
    ),
    Class(
        "private addresses",
        "Rebinding protection, on by default: an answer with a private address for a public name is withheld whole, "
        "with extended error 15. Both others have the like, off by default.",
        _rebinding,
    ),
    Class(
        "RD=0",
        "The bit travels on and is part of the cache's key, so nobody can look into what others asked, and the "
        "upstream says what it means. knot-resolver refuses such queries (extended error 20), unbound answers them "
        "from its cache, as far as `access-control: allow_snoop` lets it, and says SERVFAIL else.",
        _snooping,
    ),
    Class(
        "RD in the reply",
        'RFC 1035 s4.1.1: "this bit ... is copied into the response". unbound sets it unasked.',
        _rd_bit,
    ),
    Class(
        "truncated chains of aliases",
        "With TC whatever fits is right (RFC 2181 s9): as many whole RRsets as fit in the upstream's order, the "
        "others' in theirs, knot-resolver none, with SERVFAIL.",
        _truncated_chain,
    ),
    Class(
        "loops of aliases",
        "SERVFAIL with the reason; unbound the same without one, knot-resolver with the records of the loop.",
        _loop,
    ),
    Class(
        "the upstream's failures",
        "An RCODE of the upstream's is passed on (REFUSED, NOTIMP, FORMERR), with its extended error: who asks sees "
        "what went wrong. The others say SERVFAIL for all of them.",
        _failure,
    ),
    Class(
        "extended errors",
        "The upstream's are passed on (RFC 8914 s3) and ours added; neither unbound 1.17 nor knot-resolver 5.6 passes "
        "any on.",
        _passed_on,
    ),
    Class(
        "referrals",
        "No resolver sends one to a stub; if the upstream does, it is handed on as it came. unbound leaves the DS "
        "record and its signature out, knot-resolver the addresses.",
        _referral,
    ),
    Class(
        "additional section",
        '"Extra information" (RFC 2181 s9): we hand on what the upstream gave. unbound adds what it has in its cache, '
        "knot-resolver leaves all of it out.",
        _extra,
    ),
    Class(
        "NSEC records",
        "knot-resolver shows the NSEC records of the denial to who asks for type NSEC without DO, and leaves the proof "
        "out of some wildcard answers with DO. We hand on what the upstream gave to a query with the same bits.",
        _proofs,
    ),
    Class(
        "NSEC beside a CNAME",
        "An alias has an NSEC record of its own (RFC 4035 s2.5), and we hand it on. unbound follows the alias once it "
        "is in its cache: it gives the NSEC record of another name, or says SERVFAIL where aliases loop.",
        _beside_alias,
    ),
    Class(
        "age",
        "The same record, fetched at another moment of the run. Our cache keeps whole answers, for each question and "
        "RD, AD, CD, EDNS and DO by itself; theirs keep RRsets that several questions share.",
        _age,
    ),
    Class("TTL 0", "Given as 0 and not kept. knot-resolver makes it five seconds.", _other_ttl(_least)),
    Class(
        "CNAME of a DNAME",
        'RFC 6672 s3.1: "the TTL of the synthesized CNAME RR ... MUST be the same as the TTL of the corresponding '
        'DNAME RR"; so the upstream gave it. unbound 1.17 makes its own of 0.',
        _other_ttl(_synthesized),
    ),
    Class(
        "the TTL of SOA",
        "knot-resolver answers a question for the SOA record with the one of a negative answer, whose TTL is the "
        "negative one (RFC 2308 s3).",
        _other_ttl(_apex),
    ),
)
