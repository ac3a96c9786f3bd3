"""Plays a scenario (see README.md here) against the real resolver and cache, on virtual time."""

import shlex
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import msgspec
import trio
import trio.testing

from stubresolver.cache import AnswerCache, CacheOptions
from stubresolver.errors import UpstreamError
from stubresolver.resolve import Resolver, ResolverOptions
from stubresolver.wire.query import Query

_SECTIONS = ("answer", "authority")


class Misplayed(AssertionError):
    """What came is not what the scenario says; the text begins with the number of its line."""


@dataclass
class Line:
    """One line with the lines that belong to it."""

    number: int
    verb: str
    words: list[str]
    records: list[tuple[str, str]] = field(default_factory=list)  # section, record

    def take(self, *known: str) -> list[str]:
        """Those of the words that are in `known`; they are gone then."""
        found = [word for word in self.words if word in known]
        self.words = [word for word in self.words if word not in known]
        return found

    def option(self, name: str, default: str) -> str:
        """The value of `name=value`, which is gone then."""
        for word in self.words:
            if word.startswith(f"{name}="):
                self.words.remove(word)
                return word.partition("=")[2]
        return default

    def rcode(self) -> str:
        """The RCODE's name, which is gone then."""
        return (self.take("NXDOMAIN", "SERVFAIL", "REFUSED") or ["NOERROR"])[0]

    def end(self, words: int) -> None:
        """Raise if there are more or fewer words left."""
        if len(self.words) != words:
            raise Misplayed(f"{self.number}: {self.verb}: cannot be read: {self.words}, expected {words} words")


def parse(text: str) -> list[Line]:
    """The lines of a scenario."""
    lines: list[Line] = []
    for number, written in enumerate(text.splitlines(), 1):
        content = written.split("#", maxsplit=1)[0].rstrip()
        if content.startswith(" "):
            section, _, record = content.strip().partition(" ")
            if section not in _SECTIONS or not lines:
                raise Misplayed(f"{number}: expected one of {_SECTIONS}")
            lines[-1].records.append((section, record))
        elif content:
            verb, *words = shlex.split(content)
            lines.append(Line(number, verb, words))
    return lines


def _records(lines: list[tuple[str, str]], section: str) -> list[dns.rrset.RRset]:
    rrsets = []
    for place, record in lines:
        if place == section:
            name, ttl, klass, kind, rdata = record.split(maxsplit=4)
            rrsets.append(dns.rrset.from_text(name, int(ttl), klass, kind, rdata))
    return rrsets


class Upstream:
    """An exchanger that answers as the scenario says."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.lines: dict[tuple[str, str, str], Line] = {}  # by name, type, and "+do", "-do" or ""
        self.asked = 0

    def exchange_soon(self, query, reply):
        self.asked += 1
        message = dns.message.from_wire(query)
        (question,) = message.question
        key = (question.name.to_text(), dns.rdatatype.to_text(question.rdtype))
        line = self.lines.get((*key, "+do" if message.ednsflags & dns.flags.DO else "-do")) or self.lines.get(
            (*key, "")
        )
        if line is None:
            line = Line(0, "UPSTREAM", [], [("answer", f"{key[0]} 3600 IN A 192.0.2.99")])
        result, delay = self.result(line, message)
        if delay:
            self.nursery.start_soon(self.later, delay, reply, result)
        else:
            reply(result)

    async def later(self, delay, reply, result):
        await trio.sleep(delay)
        reply(result)

    def result(self, line, message):
        """What it says, and after how many seconds."""
        line = Line(line.number, line.verb, list(line.words), line.records)
        delay = float(line.option("delay", "0"))
        if line.take("FAIL"):
            return UpstreamError("unreached"), delay
        if line.take("JUNK"):
            return b"junk", delay
        response = dns.message.make_response(message, recursion_available=True)
        response.set_rcode(dns.rcode.from_text(line.rcode()))
        if line.take("+ad"):
            response.flags |= dns.flags.AD
        response.answer = _records(line.records, "answer")
        response.authority = _records(line.records, "authority")
        return response.to_wire(), delay


class Player:
    """One scenario under way."""

    def __init__(self, lines: list[Line], nursery: trio.Nursery) -> None:
        options = {}
        if lines and lines[0].verb == "OPTIONS":
            options = dict(word.split("=") for word in lines.pop(0).words)
        known = CacheOptions.__struct_fields__
        cache = {name: value for name, value in options.items() if name in known}
        rest = {name: value for name, value in options.items() if name not in known}
        self.lines = lines
        self.upstream = Upstream(nursery)
        self.cache = AnswerCache(msgspec.convert(cache, CacheOptions, strict=False))
        self.resolver = Resolver(self.upstream, self.cache, msgspec.convert(rest, ResolverOptions, strict=False))
        self.nursery = nursery
        self.waiting: list[tuple[Query, float, trio.Event, list[tuple[float, bytes]]]] = []
        self.number = 0

    async def play(self) -> None:
        """Do what the lines say; raises `Misplayed`."""
        await self.nursery.start(self.resolver.run)
        for line in self.lines:
            verb = getattr(self, f"do_{line.verb.lower()}", None)
            if verb is None:
                raise Misplayed(f"{line.number}: {line.verb}: no such verb")
            await verb(line)
        if self.waiting:
            raise Misplayed(f"{len(self.waiting)} queries without an EXPECT")

    async def do_upstream(self, line: Line) -> None:
        """How it answers from now on."""
        name, kind = line.words[:2]
        dnssec = (line.take("+do", "-do") or [""])[0]
        Upstream.result(self.upstream, line, dns.message.make_query(name, kind))  # must be readable
        line.words = line.words[2:]
        check = Line(line.number, line.verb, list(line.words))
        check.option("delay", "")
        check.take("FAIL", "JUNK", "+ad")
        check.rcode()
        check.end(0)
        self.upstream.lines[name, kind, dnssec] = line

    async def do_query(self, line: Line) -> None:
        """Somebody asks."""
        flags = line.take("+do", "+cd", "+ad", "-rd", "-edns")
        line.end(2)
        self.number += 1
        message = dns.message.make_query(*line.words, id=self.number, use_edns=False if "-edns" in flags else 0)
        if "+do" in flags:
            message.want_dnssec()
        for flag, bit in (("+cd", dns.flags.CD), ("+ad", dns.flags.AD)):
            message.flags |= bit if flag in flags else 0
        if "-rd" in flags:
            message.flags &= ~dns.flags.RD
        query, arrived, replies = Query(message.to_wire()), trio.Event(), []
        start = trio.current_time()

        def arrive(reply: bytes) -> None:
            replies.append((trio.current_time() - start, reply))
            arrived.set()

        reply = self.resolver.answer_nowait(query, start)
        if reply is not None:
            arrive(reply)
        else:
            self.resolver.answer_soon(query, arrive)
        self.waiting.append((query, start, arrived, replies))

    async def do_expect(self, line: Line) -> None:
        """What the one who has waited longest got, or gets."""
        after, errors = float(line.option("after", "0")), line.option("ede", "")
        flags, rcode = sorted(line.take("+ad", "+cd")), line.rcode()
        line.end(0)
        query, _, arrived, replies = self.waiting.pop(0)
        await arrived.wait()
        ((took, wire),) = replies
        reply = dns.message.from_wire(wire)
        asked = dns.message.from_wire(query.wire)
        got = {
            "after": round(took, 6),
            "rcode": dns.rcode.to_text(reply.rcode()),
            "ede": ",".join(str(int(option.code)) for option in reply.options),
            "flags": [f"+{flag}" for flag in ("ad", "cd") if reply.flags & dns.flags.from_text(flag.upper())],
            "echoed": (reply.id, reply.question[0].name.to_text(), reply.edns >= 0),
        }
        expected = {
            "after": after,
            "rcode": rcode,
            "ede": errors,
            "flags": flags,
            "echoed": (asked.id, asked.question[0].name.to_text(), asked.edns >= 0),
        }
        for section in _SECTIONS:
            got[section] = sorted(text for rrset in getattr(reply, section) for text in rrset.to_text().splitlines())
            texts = (rrset.to_text() for rrset in _records(line.records, section))
            expected[section] = sorted(texts)
        for what, value in expected.items():
            if got[what] != value:
                raise Misplayed(f"{line.number}: {what}: got {got[what]}, expected {value}")

    async def do_time(self, line: Line) -> None:
        """Time passes, and whatever is due by then happens."""
        line.end(1)
        await trio.sleep(float(line.words[0]))
        await trio.testing.wait_all_tasks_blocked()

    async def do_asked(self, line: Line) -> None:
        """How many queries went upstream."""
        line.end(1)
        asked, self.upstream.asked = self.upstream.asked, 0
        if asked != int(line.words[0]):
            raise Misplayed(f"{line.number}: {asked} queries went upstream, expected {line.words[0]}")

    async def do_flush(self, line: Line) -> None:
        """Somebody has a name forgotten, or everything."""
        if line.words:
            line.end(1)
            name = dns.name.from_text(line.words[0]).to_wire()
            self.resolver.forget_within(name, self.cache.every_key())
        else:
            self.resolver.forget()

    async def do_fill(self, line: Line) -> None:
        """Other names are asked for, once each; they are not counted."""
        line.end(1)
        asked = self.upstream.asked
        for number in range(int(line.words[0])):
            name = f"{self.number}-{number}.fill.example."
            await self.resolver.answer(Query(dns.message.make_query(name, "A", use_edns=0).to_wire()))
        self.number += 1
        self.upstream.asked = asked


async def play(text: str) -> None:
    """Play a scenario; raises `Misplayed` where something else comes than it says."""
    async with trio.open_nursery() as nursery:
        await Player(parse(text), nursery).play()
        nursery.cancel_scope.cancel()
