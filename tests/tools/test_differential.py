"""The differential run: a sample of its questions, and that it sees what it is there to see."""

import os
import shutil
from dataclasses import replace

import dns.message
import dns.rrset
import pytest

from tools.differ.classes import CLASSES, Case, classify
from tools.differ.compare import Reply, differences, read, to_wire
from tools.differ.contenders import KRESD, UNBOUND
from tools.differ.zone import TYPES, Question, questions
from tools.differential import PAGE, Result, render, run

PROGRAMS = {"knotd": "knot", "unbound": "unbound", "kresd": "knot-resolver"}
ASKED = Question("all.lab", "A")


@pytest.fixture
def programs(monkeypatch):
    """The other programs are there."""
    monkeypatch.setenv("PATH", f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    for program, package in PROGRAMS.items():
        if shutil.which(program) is None:
            pytest.skip(f"needs Debian's {package} ({program})")


@pytest.fixture
def reply():
    """A plain reply to a plain question."""
    response = dns.message.make_response(dns.message.from_wire(to_wire(ASKED, 1)), recursion_available=True)
    response.answer.append(dns.rrset.from_text("all.lab.", 300, "IN", "A", "192.0.2.1"))
    response.authority.append(dns.rrset.from_text("lab.", 300, "IN", "NS", "ns.lab."))
    return read(response.to_wire())


def test_sample(programs):
    """150 of the questions, through three resolvers: every difference has its reason."""
    result = run(150)
    assert result.questions == 150
    assert not result.unexplained, "\n".join(result.unexplained)
    assert result.alike[UNBOUND] > 80
    assert result.alike[KRESD] > 80


def test_questions():
    """2,000 different ones, the same each time, of every type, each way and with every kind of name."""
    asked = questions()
    assert asked == questions()
    assert len(set(asked)) == 2000
    assert {question.kind for question in asked} == set(TYPES)
    assert {question.tcp for question in asked} == {True, False}
    assert {question.payload for question in asked} == {None, 512, 1232, 4096}
    assert {question.flags for question in asked} == {"", "rd", "rd ad", "rd cd"}
    assert max(len(dns.message.from_wire(to_wire(question, 1)).question[0].name.to_wire()) for question in asked) == 255


def changed(reply: Reply, aspect: str) -> Reply:
    """The reply with one thing another."""
    record = next(iter(reply.answer))
    other = (record[0], record[1], b"\x7f\0\0\1")
    changes = {
        "rcode": {"rcode": "SERVFAIL"},
        "flag tc": {"flags": reply.flags | {"tc"}},
        "flag ad": {"flags": reply.flags | {"ad"}},
        "answer": {"answer": {other: 300}},
        "authority": {"authority": {}},
        "additional": {"additional": frozenset({other})},
        "ttl": {"answer": {record: 200}},
        "edns": {"edns": not reply.edns},
        "extended error": {"errors": ((22, "x"),)},
        "question": {"question": reply.question.upper()},
    }
    return replace(reply, **changes[aspect])


@pytest.mark.parametrize(
    "aspect",
    ["rcode", "flag tc", "flag ad", "answer", "authority", "additional", "ttl", "edns", "extended error", "question"],
)
def test_every_aspect_is_seen(reply, aspect):
    """Two replies that differ in one thing differ in that one."""
    assert differences(reply, changed(reply, aspect)) == (aspect,)
    assert differences(reply, reply) == ()
    assert differences(reply, None) == ("silence",)


@pytest.mark.parametrize("aspect", ["rcode", "flag tc", "flag ad", "answer", "authority", "ttl", "edns", "question"])
@pytest.mark.parametrize("who", [UNBOUND, KRESD])
def test_no_class_explains_everything(reply, aspect, who):
    """At an ordinary name, only extra information may differ: nothing explains the rest."""
    case = Case(ASKED, reply, changed(reply, aspect), who, 10.0)
    assert classify(case, (aspect,)) == ([], {aspect})


def test_a_second_is_no_difference(reply):
    """TTLs are read by clocks that are not the same."""
    record = next(iter(reply.answer))
    assert differences(reply, replace(reply, answer={record: 299})) == ()
    assert differences(reply, replace(reply, answer={record: 298})) == ("ttl",)


def test_every_class_is_on_the_page():
    """The page tells of every class that the run knows, in its words."""
    page = PAGE.read_text(encoding="utf-8")
    assert all(f"| {each.title} |" in page and each.reason in page for each in CLASSES)


def test_table_has_every_class():
    """The table of a run has a line for each, found or not."""
    assert len(render(Result()).splitlines()) == 5 + len(CLASSES)
