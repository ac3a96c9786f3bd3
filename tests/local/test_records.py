"""Static records: what a name with records answers, aliases, and what is refused at the start."""

import pytest

from stubresolver.errors import BadInput
from stubresolver.local import LocalKnowledge, Record, StaticRecords, parse_hosts
from stubresolver.localfiles import parse_records

ZONE = """\
nas.lan.        300 IN A     10.0.0.5
nas.lan         300 IN A     10.0.0.6
nas.lan.            TXT   "one" "two"
_ipp._tcp.lan.      SRV   0 0 631 printer.lan.
files.lan.          CNAME nas.lan.
deep.lan.           CNAME files.lan.
hosted.lan.         CNAME in-hosts
loop1.lan.          CNAME loop2.lan.
loop2.lan.          CNAME loop1.lan.
home.lan.           CNAME localhost.
away.lan.           CNAME www.example.com.
Mixed.Case.lan.     A 10.0.0.7
"""


@pytest.fixture
def known():
    """Knowledge with the records above and one line of a hosts file."""
    return LocalKnowledge(
        records=StaticRecords(parse_records(ZONE)), hosts=parse_hosts(b"10.9.9.9 in-hosts nas.lan", "hosts")
    )


@pytest.fixture
def ask(known, query, read):
    """The reply by the records above."""
    return lambda name, kind="A": read(known.reply(query(name, kind)))


def lines(reply) -> list[str]:
    return [line for rrset in reply.answer for line in rrset.to_text().split("\n")]


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("nas.lan", "A", ["nas.lan. 300 IN A 10.0.0.5", "nas.lan. 300 IN A 10.0.0.6"]),
        ("nas.lan", "TXT", ['nas.lan. 60 IN TXT "one" "two"']),
        ("_ipp._tcp.lan", "SRV", ["_ipp._tcp.lan. 60 IN SRV 0 0 631 printer.lan."]),
        ("mixed.case.LAN", "A", ["mixed.case.LAN. 60 IN A 10.0.0.7"]),
        ("files.lan", "CNAME", ["files.lan. 60 IN CNAME nas.lan."]),
    ],
)
def test_record_is_served_as_written(ask, name, kind, expected):
    """Type, TTL and data stand as in the text; without a TTL it is a minute; the name is spelled as it was asked."""
    assert lines(ask(name, kind)) == expected


def test_alias_is_followed_through_what_is_known_here(ask):
    """RFC 1034 s4.3.2: the alias and the records of what it leads to, through records, hosts files and localhost."""
    assert lines(ask("deep.lan")) == [
        "deep.lan. 60 IN CNAME files.lan.",
        "files.lan. 60 IN CNAME nas.lan.",
        "nas.lan. 300 IN A 10.0.0.5",
        "nas.lan. 300 IN A 10.0.0.6",
    ]
    assert lines(ask("hosted.lan"))[1:] == ["in-hosts. 60 IN A 10.9.9.9"]
    assert lines(ask("home.lan", "AAAA"))[1:] == ["localhost. 10800 IN AAAA ::1"]


def test_alias_in_other_letters_is_followed(query, read):
    """Names are compared without regard to case (RFC 4343 s3), the target of an alias as well."""
    known = LocalKnowledge(records=StaticRecords(parse_records("files.lan. CNAME NAS.Lan.\nnas.LAN. A 10.0.0.5")))
    assert [str(rrset[0]) for rrset in read(known.reply(query("files.lan"))).answer] == ["NAS.Lan.", "10.0.0.5"]


def test_alias_to_a_type_that_is_not_there(ask):
    """The alias alone, NOERROR."""
    reply = ask("files.lan", "AAAA")
    assert (reply.rcode(), lines(reply)) == (0, ["files.lan. 60 IN CNAME nas.lan."])


def test_alias_to_elsewhere_is_told(ask, known):
    """What is not known here cannot be followed by a function that asks nobody; the person hears of it at the start."""
    assert lines(ask("away.lan")) == ["away.lan. 60 IN CNAME www.example.com."]
    (problem,) = known.problems
    assert "away.lan is an alias of www.example.com, which is not known here" in problem


def test_circle_of_aliases_ends(ask):
    """Aliases that lead back are followed a bounded number of times."""
    assert len(lines(ask("loop1.lan"))) == 2  # dnspython counts equal records once


def test_name_is_answered_whole(ask):
    """Another type is empty, also where a hosts file has the name: the configuration's words go first."""
    reply = ask("nas.lan", "AAAA")
    assert (reply.rcode(), reply.answer) == (0, [])
    assert str(reply.authority[0].name) == "nas.lan."
    assert "10.9.9.9" not in str(ask("nas.lan", "A"))


def test_other_names_go_upstream(ask):
    """Nothing is said about names above or below one with records."""
    assert ask("lan") is None
    assert ask("x.nas.lan") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("*.lan. A 10.0.0.1", r"\*\.lan: wildcards are not served here"),
        ("lan. DNAME example.", "DNAME records are not served here"),
        ("a. CNAME b.\na. A 10.0.0.1", "CNAME"),
        (". A 10.0.0.1", "root"),
        ("a. A 10.0.0.256", "line 1: "),
        ("a. A 10.0.0.1\nb. CH A 10.0.0.1", "line 2: "),
        ("a. OPT", "line 1"),
        ("$INCLUDE /etc/passwd", "line 1"),
        ("$GENERATE 1-9999999 a$ A 10.0.0.1", "line 1"),
        ("bücher. A 10.0.0.1", "beyond ASCII"),
        ("a. A (", "line "),
        ("a", "line "),
        ("a" * 64 + " A 10.0.0.1", "line 1"),
        ('a. TXT "', "line "),
    ],
)
def test_what_cannot_be_served_is_an_error(text, words):
    """Every slip is told with its line or its name, and nothing of the text is taken."""
    with pytest.raises(BadInput, match=words):
        StaticRecords(parse_records(text))


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ([Record(b"\1a\0", 5, 60, b"\1b\0"), Record(b"\1a\0", 5, 60, b"\1c\0")], "CNAME"),
        ([Record(b"\1a\0", 255, 60, b"")], "type 255 is none that a name can have"),
        ([Record(b"\1a\0", 250, 60, b"")], "type 250 is none that a name can have"),
        ([Record(b"\1a\0", 41, 60, b"")], "type 41 is none that a name can have"),
        ([Record(b"\1a\0", 1, 60, number.to_bytes(4)) for number in range(1001)], "more than 1,000 records of a type"),
    ],
)
def test_records_that_no_zone_holds_are_an_error(records, words):
    """One alias to a name, and no meta-type, however the records came about."""
    with pytest.raises(BadInput, match=words):
        StaticRecords(records)


def test_equal_records_are_one():
    """RFC 2181 s5: a record that stands there twice is there once."""
    assert len(StaticRecords([Record(b"\1a\0", 1, 60, bytes(4))] * 2)) == 1


def test_empty_text_is_no_record():
    """No text, no record, and no library for it."""
    assert len(StaticRecords(parse_records(" \n"))) == 0
