"""`stubresolver status` and `portal`, against a service that says what it is told to: the page, and exit statuses."""

import json
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import trio

from stubresolver.cli import portal as portal_command
from stubresolver.cli.status_shown import ago
from stubresolver.control import ControlServer, ControlSocket, Request, ShownStatistics
from stubresolver.control import status as shapes
from stubresolver.control.portal import PortalPlan, PortalState
from stubresolver.errors import BadInput

ZERO = ShownStatistics(**dict.fromkeys(ShownStatistics.__struct_fields__, 0))
VERDICT = shapes.ShownVerdict(
    at="2026-11-22T12:00:00.5Z",
    allowed=True,
    summary="2 valid SCTs (Operator A, Operator B)",
    leaf=shapes.ShownLeaf(subject="CN=dns.test", issuer="CN=Issuer", not_after="2027-01-01T00:00:00Z"),
    scts=(shapes.ShownSct(log="Log 1", operator="Operator A", timestamp="2026-01-01T00:00:00.000Z", status="VALID"),),
)
UPSTREAM = shapes.ShownUpstream(
    upstream="tls://192.0.2.1#dns.test",
    provider="Lab",
    transport="tls",
    policy="ct: 2 SCTs of 2 operators",
    state="open",
    state_for=3700,
    tls=shapes.ShownTls(version="TLSv1.3", group="X25519MLKEM768", cipher="TLS_AES_256_GCM_SHA384", alpn="dot"),
    verdict=VERDICT,
    asked=7,
    answered=6,
    answer_seconds=0.0123,
)
WELL = shapes.Status(
    version="1.2.3",
    pid=42,
    started="2026-11-22T11:00:00Z",
    uptime=90061,
    config="defaults",
    outcome="started: the policy",
    problems=(),
    diagnosis=shapes.ShownDiagnosis(kind="fine"),
    clear=shapes.ShownClear(queries=0, zones=0, portal=0),
    portal=PortalState(open=False),
    upstreams=(UPSTREAM,),
    blocked=(),
    zones=(),
    clients=shapes.ShownClients(listening=("127.0.0.1 port 53",)),
    counters=ZERO,
    clock=shapes.ShownClock(now="2026-11-22T12:00:00Z"),
    log_list=shapes.ShownLogList(timestamp="2026-11-02T00:00:00Z", age_days=20, state="fresh"),
    evidence=shapes.ShownEvidence(file="/var/lib/e", kept=True, since="2026-11-22T11:00:00Z"),
    audit_alarms=0,
    report_mode=(),
    refusals=(),
)
REFUSED = msgspec.structs.replace(
    UPSTREAM,
    state="paused",
    tls=None,
    verdict=shapes.ShownVerdict(
        at="2026-11-22T12:00:00Z",
        allowed=False,
        summary="ct.scts: 0 of 2 (+1 more)",
        failed=("ct.scts: 0 of 2", "path.name: x"),
    ),
    failures_in_row=3,
    next_dial=12.5,
    last_error="REFUSED \x1b[2J by the policy",
    last_error_age=61.0,
)
PLAIN = msgspec.structs.replace(UPSTREAM, upstream="udp://10.0.0.53", state="plain", tls=None, verdict=None)
WRONG = msgspec.structs.replace(
    WELL,
    problems=(shapes.ShownProblem(what="no upstream can be asked: " + "a reason " * 20, remedy="do this"),),
    clear=shapes.ShownClear(queries=5, zones=2, portal=3),
    portal=PortalState(open=True, servers=("192.168.1.1",), seconds=180, left=61, queries=3, opened=1),
    upstreams=(REFUSED,),
    blocked=(shapes.ShownBlocked(provider="Lab", transport="tls", here=True, again_in=500),),
    zones=(
        shapes.ShownZone(
            zones="corp.example",
            clear=True,
            sent_in_clear=2,
            servers=(PLAIN,),
        ),
        shapes.ShownZone(zones="lab.example", clear=False, sent_in_clear=0, servers=(UPSTREAM,)),
    ),
    clients=shapes.ShownClients(listening=(), shed=5, given_way=7, waiting=3, flooded=True),
    clock=shapes.ShownClock(now="1999-01-01T00:00:00Z", problem="clock.floor: 1999 cannot be"),
    log_list=shapes.ShownLogList(timestamp="2026-01-02T00:00:00Z", age_days=300, state="stale"),
    evidence=shapes.ShownEvidence(
        file="/e", kept=False, since="2026-11-22T11:00:00Z", problem="disk full", set_aside=("/e.corrupt",)
    ),
    audit_alarms=2,
    refusals=(shapes.ShownRefusal(at="2026-11-22T12:00:00Z", upstream="tls://192.0.2.1", reason="ct.scts: 0 of 2"),),
)  # fmt: skip

Run = Callable[..., object]


class Told:
    """What the service answers next, by command; a list is given out one after the other."""

    def __init__(self) -> None:
        self.says: dict[str, object] = {}
        self.asked: list[Request] = []

    def command(self, name: str) -> Callable[[Request], Awaitable[msgspec.Struct]]:
        async def answer(request: Request) -> msgspec.Struct:
            await trio.lowlevel.checkpoint()
            self.asked.append(request)
            said = self.says[name]
            said = said.pop(0) if isinstance(said, list) else said
            if isinstance(said, Exception):
                raise said
            return said

        return answer


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Told]:
    """A control socket where the commands look for it."""
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    monkeypatch.setattr(portal_command, "_POLL", 0.001)
    standing, told = threading.Event(), Told()
    known: dict[str, object] = {}

    async def serve() -> None:
        names = ("status", "portal.find", "portal.start", "portal.stop", "portal.show")
        with ControlSocket(tmp_path / "control.sock") as sock:
            async with trio.open_nursery() as nursery:
                known["token"], known["scope"] = trio.lowlevel.current_trio_token(), nursery.cancel_scope
                await nursery.start(ControlServer(sock, {name: told.command(name) for name in names}).run)
                standing.set()

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    assert standing.wait(10)
    yield told
    known["token"].run_sync_soon(known["scope"].cancel)
    thread.join(10)


def test_all_is_well(run: Run, service: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit status 0; the first line says it, and plaintext queries are counted near the top."""
    monkeypatch.setenv("COLUMNS", "80")
    service.says["status"] = WELL
    told = run("status")
    lines = told.out.splitlines()
    assert (told.status, lines[0]) == (0, "well         nothing is wrong")
    assert lines[1] == "in clear     plaintext queries sent: 0"
    assert "open         tls://192.0.2.1#dns.test (Lab) for 1 h 1 min" in lines
    assert any("X25519MLKEM768" in line for line in lines)
    assert any("issued to  CN=dns.test, by CN=Issuer, until 2027-01-01" in line for line in lines)
    assert any("SCTs       Log 1 (Operator A, VALID)" in line for line in lines)
    assert "1 d 1 h" in told.out


def test_what_is_wrong_comes_first(run: Run, service: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit status 1, the way out beside it; within 80 columns, and nothing steers the terminal."""
    monkeypatch.setenv("COLUMNS", "80")
    service.says["status"] = WRONG
    told = run("status")
    lines = told.out.splitlines()
    assert told.status == 1
    assert lines[0].startswith("WRONG        no upstream can be asked")
    assert "  way out    do this" in lines
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in told.out
    for words in (
        "plaintext queries sent: 5; 2 for forward zones",
        "open for 1 min 1 s more: names go in clear to 192.168.1.1",
        "REFUSED 2026-11-22T12:00:00Z: ct.scts: 0 of 2",
        "path.name: x",
        "REFUSED \\x1b[2J by the policy (1 min 1 s ago); 3 in a",
        "corp.example: PLAIN DNS, 2 queries sent in clear",
        "lab.example: over TLS",
        "clock.floor: 1999 cannot be",
        "300 days old: stale",
        "NOT KEPT since 2026-11-22T11:00:00Z: disk full",
        "set aside: /e.corrupt",
        "2 alarms kept",
        "DNS over TLS (port 853) to Lab does not work here",
        "5 shed, 7 gave way, 0 dropped by the kernel; more is asked now than",
        "Last refusals\n2026-11-22   12:00:00Z tls://192.0.2.1: ct.scts: 0 of 2\n",
    ):
        assert words in told.out, words


@pytest.mark.parametrize("columns", ["20", "60", "1000", "x", "99999", ""])
def test_every_terminal(run: Run, service: Told, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    """However wide it says that it is."""
    monkeypatch.setenv("COLUMNS", columns)
    service.says["status"] = WRONG
    told = run("status")
    assert told.status == 1
    assert 50 < max(map(len, told.out.splitlines())) <= 100


@pytest.mark.parametrize(("wish", "colours"), [("", True), ("1", False)])
def test_colours(
    run: Run,
    service: Told,
    monkeypatch: pytest.MonkeyPatch,
    wish: str,
    colours: bool,
) -> None:
    """On a terminal alone, and not where NO_COLOR asks for none (no-color.org)."""
    monkeypatch.setenv("NO_COLOR", wish)
    service.says["status"] = WRONG
    assert "\x1b[31m" not in run("status").out
    monkeypatch.setattr("click.utils.should_strip_ansi", lambda *_: False)  # as on a terminal
    assert ("\x1b[31m" in run("status").out) is colours


@pytest.mark.parametrize(("says", "code"), [(WELL, 0), (WRONG, 1)])
def test_for_machines(run: Run, service: Told, says: shapes.Status, code: int) -> None:
    """One line of JSON that reads back as it was; the same exit status."""
    service.says["status"] = says
    told = run("status", "--json")
    assert told.status == code
    assert msgspec.json.decode(told.out, type=shapes.Status) == says
    assert json.loads(told.out)["clear"]["queries"] == says.clear.queries


def test_no_service(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Exit status 2, and what to do."""
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    for command in (("status",), ("portal", "--yes"), ("portal", "--stop")):
        told = run(*command)
        assert (told.status, "no service of this user is running" in told.err) == (2, True)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (-1, "0 s"),
        (59.9, "59 s"),
        (61, "1 min 1 s"),
        (180, "3 min"),
        (7200, "2 h"),
        (86_400, "1 d"),
        (3599, "59 min"),
        (7260, "2 h 1 min"),
        (90061, "1 d 1 h"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    """Two units at most."""
    assert ago(seconds) == words


OPEN = PortalState(open=True, servers=("192.168.1.1",), seconds=60, left=60, queries=0, opened=1)
PLAN = PortalPlan(servers=("192.168.1.1",), source="/run/lease", looked=(), network=7)


@pytest.mark.parametrize(
    ("end", "code", "words"),
    [
        (
            PortalState(open=False, ended="tls://192.0.2.1 stands, verified", verified=True, queries=4, opened=1),
            0,
            "logged in: tls://192.0.2.1 stands, verified; protection is on again; queries sent in clear: 4",
        ),
        (
            PortalState(open=False, ended="its time is over", opened=1),
            1,
            "closed, its time is over, and no upstream is",
        ),
        (
            PortalState(open=True, opened=2, left=5),
            1,
            "closed, and another was opened since",
        ),  # it was ended, and somebody has opened another one
    ],
)
def test_portal_stays_until_it_is_over(run: Run, service: Told, end: PortalState, code: int, words: str) -> None:
    """It asks for what the person agreed to, and ends with what came of it."""
    service.says = {"portal.find": PLAN, "portal.start": OPEN, "portal.show": [OPEN, end]}
    told = run("portal", "--for", "1m", "--yes")
    assert (told.status, words in told.out) == (code, True)
    assert "names that are not in the cache would go to\n  192.168.1.1 (given by the network: /run/lease)" in told.err
    assert "neither encrypted nor verified" in told.err
    assert max(map(len, told.err.splitlines())) <= 80
    assert "Ctrl-C ends it" in told.out
    assert service.asked[1] == Request(command="portal.start", seconds=60, servers=("192.168.1.1",), network=7)


def test_portal_in_other_ways(run: Run, service: Told) -> None:
    """Detached, stopped, refused; for machines."""
    service.says = {
        "portal.find": PLAN,
        "portal.start": OPEN,
        "portal.stop": [PortalState(open=False, ended="a person stopped it", queries=2), BadInput("no portal is open")],
    }
    told = run("portal", "--yes", "--detach", "--server", "10.0.0.1", "--json")
    assert (told.status, json.loads(told.out)["open"]) == (0, True)
    assert service.asked[0] == Request(command="portal.find", servers=("10.0.0.1",))
    assert "; stubresolver portal --stop ends it" in run("portal", "--yes", "--detach").out
    told = run("portal", "--stop")
    assert (told.status, told.out) == (0, "the portal is closed; queries sent in clear: 2\n")
    told = run("portal", "--stop")
    assert (told.status, told.err) == (2, "stubresolver: the service says: no portal is open\n")


@pytest.mark.parametrize("duration", ["0s", "11m", "601", "1h", "-5s", "", "3 m", "1e1", "٣m"])
def test_portal_durations(run: Run, service: Told, duration: str) -> None:
    """One second to ten minutes; nothing is asked of the service otherwise."""
    told = run("portal", "--yes", "--for", duration)
    assert (told.status, "expected 1s to 10m" in told.err) == (2, True)
    assert service.asked == []


def test_ctrl_c_ends_it(run: Run, service: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever walks away from it has it closed, even if it was over by then."""
    for stop in (PortalState(open=False, ended="a person stopped it", queries=9), BadInput("no portal is open")):
        service.says = {"portal.find": PLAN, "portal.start": OPEN, "portal.show": OPEN, "portal.stop": stop}
        with monkeypatch.context() as patch:
            patch.setattr(portal_command.time, "sleep", _interrupt)
            told = run("portal", "--yes")
        assert told.status == 130
        assert service.asked[-1].command == "portal.stop"


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_who_closes_the_terminal_ends_it(
    run: Run, service: Told, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """A person whose connection to the machine is gone sees nothing of what goes in clear; with nohup(1) it stays."""
    closed = PortalState(open=False, ended="a person stopped it")
    over = PortalState(open=False, ended="its time is over", opened=1)
    monkeypatch.setattr(portal_command.time, "sleep", lambda _: os.kill(os.getpid(), number))
    before = signal.signal(number, lambda *_: None)
    try:
        service.says = {"portal.find": PLAN, "portal.start": OPEN, "portal.show": over, "portal.stop": closed}
        assert run("portal", "--yes").status == 130
        assert service.asked[-1].command == "portal.stop"
        signal.signal(number, signal.SIG_IGN)
        assert run("portal", "--yes").status == 1
        assert service.asked[-1].command == "portal.show"
    finally:
        signal.signal(number, before)


def test_portal_outlived_by_its_command(run: Run, service: Told) -> None:
    """A service that ends or does not answer meanwhile: it was open, so the status is not that of "not opened"."""
    service.says = {"portal.find": PLAN, "portal.start": OPEN, "portal.show": BadInput("no")}
    told = run("portal", "--yes")
    assert (told.status, "the portal ends by its time, or has ended with the service" in told.err) == (1, True)


def _interrupt(_seconds: float) -> None:
    raise KeyboardInterrupt


def test_nothing_happens_without_a_yes(run: Run, service: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """A no, or nobody to ask."""
    service.says = {"portal.find": PLAN}
    assert run("portal").status == 2
    monkeypatch.setattr(portal_command, "confirmed", lambda *_, **__: False)
    told = run("portal")
    assert (told.status, "nothing was opened" in told.err) == (2, True)
    assert {request.command for request in service.asked} == {"portal.find"}
