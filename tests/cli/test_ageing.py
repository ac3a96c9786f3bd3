"""A log list that grows old and a clock that is wrong: what is refused, and where a person reads it."""

import json
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
import trio

from stubresolver.cli.ageing import daily, doubt_clock, list_age
from stubresolver.cli.common import utc_now
from stubresolver.config import load_log_list, load_policy
from stubresolver.evidence import EvidenceKeeper, EvidenceStore
from stubresolver.lab.authority import Credential
from stubresolver.lab.logs import log_list_json
from stubresolver.lab.world import World
from stubresolver.verify import Presented, Verifier
from tests.cli.conftest import Files, Outcome, Start

DAY = timedelta(days=1)
Run = Callable[..., Outcome]
Remember = Callable[[Credential, datetime], None]


@pytest.fixture
def remember(world: World, files: Files, tmp_path: Path) -> Remember:
    """Have the evidence say that a certificate was allowed at a time, by the files as they are."""

    def remember(credential: Credential, at: datetime) -> None:
        policy, log_list = load_policy(files.policy), load_log_list(files.log_list)
        presented = Presented(ip_address("127.0.0.1"), "dns.lab", credential.chain)
        verdict = Verifier(policy, log_list).judge(presented, at)
        assert verdict.allowed
        with closing(EvidenceStore(tmp_path / "state" / "evidence.sqlite3")) as store:
            store.keep_demands(policy, log_list)
            store.record("tls://127.0.0.1#dns.lab", presented, verdict)

    return remember


def age(world: World, files: Files, days: int) -> None:
    """Date the log list back."""
    files.log_list.write_bytes(log_list_json(list(world.logs), now=world.now - days * DAY))


def test_known_leaf_passes_and_a_new_one_is_refused(
    run: Run, world: World, files: Files, start: Start, remember: Remember
) -> None:
    """Under a list of 80 days: who was allowed 30 days ago is allowed; the other reads why not, and what to do."""
    age(world, files, 80)
    known, new = (world.issue(stamped=-60 * DAY, starts=-60 * DAY) for _ in range(2))
    remember(known, world.now - 30 * DAY)
    for credential, status in ((known, 0), (new, 1), (known, 0)):
        _, port = start(credential)
        done = run("check", "--config", files.config, "--json", f"tls://127.0.0.1:{port}#dns.lab")
        assert done.status == status, done
        verdict = json.loads(done.out)
        [found] = [each for each in verdict["findings"] if each["rule"] == "ct.list-age"]
        assert (found["outcome"] == "PASS") == (status == 0)
        assert ("this certificate passed on" in found["detail"]) == (status == 0)
        assert "stubresolver logs update" in found["detail"]
        assert (verdict["remembered"]["passed"] is not None) == (status == 0)
        assert "it is stale: certificates that were not seen before are refused" in done.err
    listed = json.loads(run("evidence", "list", "--json", "--limit", "1", "--allowed").out)
    assert run("explain", listed["id"]).out.endswith("reproduced, octet for octet\n")


def test_ageing_list_is_warned_of_and_refuses_nothing(run: Run, world: World, files: Files, start: Start) -> None:
    """Between 45 and 70 days: told on every command that dials, and allowed."""
    age(world, files, 50)
    _, port = start()
    for command in (("check",), ("query", "example.lab", "--upstream")):
        done = run(*command, f"tls://127.0.0.1:{port}#dns.lab", "--config", files.config)
        assert done.status == 0
        assert "is 50 days old; from " in done.err
    assert "is 50 days old; from " in run("run", "--check", "--config", files.config).out


def test_clock_that_is_behind_is_named_and_there_is_a_way_out(
    run: Run, world: World, files: Files, start: Start, remember: Remember
) -> None:
    """`check` and the extended error of an answer speak of the clock; what a clock ahead has left can be dropped."""
    remember(world.issue(), world.now + 40 * DAY)
    server, port = start()
    upstream = f"tls://127.0.0.1:{port}#dns.lab"
    said = "clock.floor: the clock says "
    checked = run("check", "--config", files.config, upstream)
    assert (checked.status, f"REFUSED  {said}" in checked.out) == (1, True)
    assert "stubresolver evidence prune --future" in checked.out
    assert "path.valid" not in checked.out
    asked = run("query", "secret.lab", "--config", files.config, "--upstream", upstream)
    assert (asked.status, "SERVFAIL" in asked.out, said in asked.out) == (1, True, True)
    assert server.tally.application_octets == 0
    dry = run("evidence", "prune", "--future", "--dry-run")
    assert dry.out.startswith("would be dropped: 1 allowed, 0 refused")
    assert run("evidence", "prune", "--future").out.startswith("dropped: 1 allowed, 0 refused")
    assert run("check", "--config", files.config, upstream).status == 0


def test_clock_that_is_wrong_now_drops_nothing(run: Run, world: World, files: Files, remember: Remember) -> None:
    """Behind the log list it is the clock that must be set: by it all that is right would seem to be of the future."""
    remember(world.issue(), world.now + 40 * DAY)
    age(world, files, -2)
    for extra in ((), ("--dry-run",), ("--before", "900d")):
        done = run("evidence", "prune", "--future", *extra, "--config", files.config)
        assert (done.status, done.out) == (2, "")
        assert "the pinned log list is of" in done.err
        assert "nothing was dropped: what is dated after such a clock may well be right" in done.err
    files.log_list.write_text("{")
    done = run("evidence", "prune", "--future", "--config", files.config)
    assert done.out.startswith("dropped: 1 allowed, 0 refused")


def test_chain_from_a_file_has_a_floor_unless_its_time_is_named(run: Run, world: World, files: Files) -> None:
    """Judged for now, a list from the day after tomorrow says that the clock is wrong; for a time of its own, not."""
    age(world, files, -2)
    chain = ("check", "--chain", files.chain, "--address", "127.0.0.1", "--config", files.config)
    done = run(*chain)
    assert done.status == 1
    assert "clock.floor: the clock says" in done.out
    assert "the pinned log list is of" in done.out
    assert "or the list is dated wrongly" in done.out
    named = json.loads(run(*chain, "--json", "--at", f"{world.now:%Y-%m-%dT%H:%M:%SZ}").out)
    assert (named["allowed"], named["remembered"]) == (True, {"floor": None, "passed": None})


def test_doubt_needs_more_than_a_day(world: World, files: Files, tmp_path: Path) -> None:
    """The service's own question, without a certificate: by the same rule, in the same words."""
    listed = load_log_list(files.log_list)
    with closing(EvidenceKeeper(tmp_path / "evidence.sqlite3", utc_now)) as store:
        assert doubt_clock(listed, store, listed.timestamp - DAY) == ""
        doubt = doubt_clock(listed, store, listed.timestamp - 2 * DAY)
    assert doubt.startswith("clock.floor: the clock says ")
    assert doubt.endswith("; until then every judgement refuses")


def test_evidence_that_cannot_be_read_is_no_doubt(files: Files, tmp_path: Path) -> None:
    """The clock is held against what else is known, by the same rule."""
    (tmp_path / "file").touch()
    listed = load_log_list(files.log_list)
    with closing(EvidenceKeeper(tmp_path / "file" / "evidence.sqlite3", utc_now)) as unreadable:
        assert doubt_clock(listed, unreadable, listed.timestamp) == ""
        assert "the pinned log list is of" in doubt_clock(listed, unreadable, listed.timestamp - 2 * DAY)


@pytest.mark.parametrize(("days", "state"), [(0, "fresh"), (44, "fresh"), (45, "ageing"), (70, "stale")])
def test_age_in_days_and_in_a_word(files: Files, days: int, state: str) -> None:
    """What the status file has, for machines."""
    listed = load_log_list(files.log_list)
    assert list_age(listed, listed.timestamp + days * DAY) == (days, state)


async def test_daily_is_once_a_day(autojump_clock: trio.testing.MockClock) -> None:
    """Not at once, and not less often because telling takes its time."""
    told = []

    async def tell() -> None:
        told.append(trio.current_time())

    begun = trio.current_time()
    with trio.move_on_after(3 * 86400 + 1):
        await daily(tell)
    assert [at - begun for at in told] == [86400, 2 * 86400, 3 * 86400]
