"""What counts as wrong, in which order it is told, and with which way out."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from stubresolver.control import status
from stubresolver.control.status import ShownClear, ShownUpstream
from stubresolver.ct import SctStatus
from stubresolver.errors import ConnectFailed
from stubresolver.recent import MOST, RecentRefusals
from stubresolver.serve import TcpStatistics
from stubresolver.statuspage import Doubts, problems, shown_clients, shown_refusals, shown_upstream
from stubresolver.upstream import DialFailed, Judged, UpstreamStatistics, parse_upstream
from stubresolver.upstream.diagnosis import Diagnosis, Kind
from stubresolver.verify import Finding, JudgedSct, Outcome, PathCertificate, Rule, TlsFacts, Verdict

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ALLOWED = Verdict(
    NOW,
    (Finding(Rule.PATH_VALID, Outcome.PASS, "leaf", "a path"),),
    (JudgedSct("bG9n", "Log 1", "Operator", "2026-01-01T00:00:00.000Z", SctStatus.VALID),),
    (
        PathCertificate("CN=dns.test", "aa", "bb", "2027-01-01T00:00:00Z"),
        PathCertificate("CN=Issuer", "cc", "dd", "2030-01-01T00:00:00Z"),
    ),
    frozenset({Rule.PATH_VALID}),
    "digest",
    None,
)
REFUSED = replace(ALLOWED, findings=(Finding(Rule.CT_SCTS, Outcome.FAIL, "leaf", "0 of 2"),), path=())
LINE = UpstreamStatistics(
    "tls://192.0.2.1", "the policy", "open", ALLOWED, TlsFacts("TLSv1.3", "AES", "X25519", "dot", None),
    1, 1, 0, 5, 4, "", 0.0, provider="Lab", transport="tls", dials=1,
)  # fmt: skip
NONE = Doubts("", "fresh", 3, "", 0, (), "", "")
CLEAR = ShownClear(queries=0, zones=0, portal=0)
FINE = Diagnosis(Kind.FINE)


def upstream(**changes):
    return shown_upstream(replace(LINE, **changes))


def wrong(upstreams=None, diagnosis=FINE, clear=CLEAR, **doubts):
    """The problems' words, in order."""
    found = problems((upstream(),) if upstreams is None else upstreams, diagnosis, clear, replace(NONE, **doubts))
    assert all(problem.remedy for problem in found)
    return [problem.what for problem in found]


def test_all_is_well():
    """An upstream stands, and nothing speaks against anything."""
    assert wrong() == []


@pytest.mark.parametrize(
    ("doubt", "words"),
    [
        ({"clock": "clock.floor: 1999"}, "clock.floor: 1999"),
        ({"log_list": "stale", "log_list_days": 71}, "the log list is 71 days old: stale"),
        ({"evidence": "EVIDENCE NOT KEPT since ..."}, "EVIDENCE NOT KEPT since ..."),
        ({"audit_alarms": 2}, "2 audit alarms are kept"),
        ({"report_mode": ("tls://192.0.2.1",)}, "REPORT MODE for tls://192.0.2.1: asked whatever the verdict"),
        ({"reload": "reload refused"}, "reload refused"),
        ({"portal": "PORTAL OPEN for 60 s"}, "PORTAL OPEN for 60 s"),
        ({"tasks": {"watching": "OSError"}}, "watching has failed and is begun again: OSError"),
    ],
)
def test_each_doubt_is_told(doubt, words):
    """With a way out, each by itself."""
    assert wrong(**doubt) == [words]


def test_a_list_that_only_ages_is_no_problem():
    """It still judges."""
    assert wrong(log_list="ageing") == []


@pytest.mark.parametrize(
    ("changes", "is_wrong"),
    [
        ({"state": "open"}, False),
        ({"state": "idle", "connections": 3}, False),
        ({"state": "dialling", "connections": 3}, False),
        ({"state": "paused", "connections": 3, "failures_in_row": 1}, True),
        ({"state": "idle", "connections": 0}, True),
        ({"state": "silent", "connections": 1, "failures_in_row": 1}, True),
    ],
)
def test_when_nothing_stands(changes, is_wrong):
    """A connection that ended without a failure is made anew when it is needed; any other lack is wrong."""
    assert bool(wrong((upstream(**changes),))) is is_wrong


def test_the_diagnosis_explains_it_once():
    """The network's state is the reason, its way out the remedy; a clock that it names already is not told twice."""
    down = (upstream(state="paused", failures_in_row=2),)
    portal = Diagnosis(Kind.CAPTIVE_PORTAL, "a login page", "log in: sudo stubresolver portal --for 3m")
    [problem] = problems(down, portal, CLEAR, NONE)
    assert problem.what == "no upstream can be asked: a login page"
    assert problem.remedy == "log in: sudo stubresolver portal --for 3m"
    clock = Diagnosis(Kind.CLOCK_WRONG, "the clock says 1999")
    assert wrong(down, clock, clock="the clock says 1999") == ["no upstream can be asked: the clock says 1999"]
    refused = (upstream(state="paused", failures_in_row=2, verdict=REFUSED),)
    [problem] = problems(refused, Diagnosis(Kind.REFUSED, "no upstream meets the policy", "see why"), CLEAR, NONE)
    assert problem.what == "no upstream can be asked: no upstream meets the policy: ct.scts: 0 of 2"


def test_a_wrong_clock_is_wrong_while_a_connection_stands_too():
    """It serves until its end, and nothing follows it: docs/status.md counts a clock that cannot be right."""
    assert wrong(diagnosis=Diagnosis(Kind.CLOCK_WRONG, "the clock says 1999"), clock="the clock says 1999") == [
        "the clock says 1999"
    ]


def test_the_worst_comes_first():
    """What left in clear unexplained, then an open portal, then that nobody can be asked, then the rest."""
    found = wrong(
        (),
        Diagnosis(Kind.UNREACHABLE, "nobody answers"),
        ShownClear(queries=7, zones=3, portal=3),
        portal="PORTAL OPEN",
        audit_alarms=1,
    )
    assert found == [
        "1 queries were sent in clear that no zone and no portal accounts for",
        "PORTAL OPEN",
        "no upstream can be asked: nobody answers",
        "1 audit alarms are kept",
    ]


def test_an_upstream_whole():
    """Connection, certificate with issuer, SCTs, verdict."""
    shown = upstream()
    assert shown.tls is not None
    assert (shown.tls.version, shown.tls.group, shown.tls.alpn) == ("TLSv1.3", "X25519", "dot")
    assert shown.verdict is not None
    assert shown.verdict.leaf is not None
    assert (shown.verdict.leaf.subject, shown.verdict.leaf.issuer) == ("CN=dns.test", "CN=Issuer")
    assert [(sct.log, sct.operator, sct.status) for sct in shown.verdict.scts] == [("Log 1", "Operator", "VALID")]
    refused = upstream(verdict=REFUSED, tls=None).verdict
    assert (refused.allowed, refused.leaf, refused.failed) == (False, None, ("ct.scts: 0 of 2",))
    assert upstream(verdict=None).verdict is None


def test_the_last_refusals():
    """A ring: refusals alone, when, whom and why, the newest last; a long reason is cut."""
    recent, one = RecentRefusals(), parse_upstream("tls://192.0.2.1")
    recent.take(Judged(one, ALLOWED))
    recent.take(DialFailed(one, ConnectFailed("unreachable")))
    assert recent() == ()
    long = replace(REFUSED, findings=(Finding(Rule.CT_SCTS, Outcome.FAIL, "leaf", "x" * 9999),))
    for number in range(MOST + 5):
        recent.take(Judged(one, replace(long, at=NOW.replace(minute=number))))
    shown = shown_refusals(recent())
    assert (len(shown), shown[-1].at[:16], shown[0].at[:16]) == (MOST, "2026-11-22T12:20", "2026-11-22T12:05")
    assert len(shown[0].reason) == 500


def test_who_gave_way_is_counted():
    """Of all listeners together, as docs/floods.md says: idle clients and slow ones, and exchanges."""
    tcp = TcpStatistics(*[0] * 9, places=128)
    figures = SimpleNamespace(
        udp=(),
        tcp=(replace(tcp, evicted=1, gave_way=2), replace(tcp, gave_way=4)),
        resolver=SimpleNamespace(shed=8, given_way=16, waiting=32, flooded=True),
    )
    shown = shown_clients(figures, ())
    assert (shown.tcp_gave_way, shown.shed, shown.given_way, shown.waiting) == (7, 8, 16, 32)


def test_every_field_is_handed_on():
    """What the pool knows of an upstream is in the status, but for what is told in other words."""
    fields = set(UpstreamStatistics.__slots__)
    shown = set(ShownUpstream.__struct_fields__)
    assert fields - shown == {"address", "paused_for", "probe_seconds"}


def test_every_field_is_documented():
    """docs/status.md names each field of the JSON, those of an upstream's verdict and of the portal, too."""
    told = (Path(__file__).parents[1] / "docs" / "status.md").read_text()
    shapes = [each for each in vars(status).values() if isinstance(each, type) and issubclass(each, msgspec.Struct)]
    fields = {name for each in shapes if each is not status.ShownStatistics for name in each.__struct_fields__}
    assert len(fields) > 90
    assert {name for name in fields if f"`{name}`" not in told and f"`{name}[]`" not in told} == set()
