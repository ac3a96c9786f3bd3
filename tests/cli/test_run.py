"""`stubresolver run`: what it refuses to start with, and what it tells the service manager."""

import socket
from dataclasses import replace
from datetime import timedelta

import pytest
import trio

from stubresolver.cli import run as module
from stubresolver.cli.common import utc_now
from stubresolver.cli.service import Service
from stubresolver.cli.status_file import read_status
from stubresolver.config import load_settings
from stubresolver.errors import SelfTestFailed
from stubresolver.evidence import EvidenceKeeper
from stubresolver.lab.logs import log_list_json
from stubresolver.localfiles import LocalFiles
from stubresolver.serve import Bound
from stubresolver.trust import load_trust


def failing():
    raise SelfTestFailed("a certificate without SCTs was ALLOWED (selftest_no_scts.json)")


@pytest.mark.parametrize("option", ["--check", "--listen=127.0.0.1:0"])
def test_failed_self_test_serves_nothing(run, files, monkeypatch, option):
    """An installation that allows what must be refused binds no socket and says so in a sentence."""
    monkeypatch.setattr(module, "run_selftest", failing)
    monkeypatch.setattr(trio, "run", lambda *_: pytest.fail("it serves"))
    monkeypatch.setattr(module, "bind_all", lambda *_: pytest.fail("it listens"))
    done = run("run", "--config", files.config, option)
    assert done.status == 1
    assert "the self-test failed, so nothing is served: a certificate without SCTs was ALLOWED" in done.err


def test_check_shows_what_is_in_force(run, files):
    """Each upstream with its policy, warnings, and no service."""
    files.policy.write_text(files.policy.read_text() + '[policy]\nmode = "report"\n')
    done = run("run", "--config", files.config, "--check")
    assert done.status == 0
    assert done.out.count("REPORT MODE, ct: 2 SCTs of 2 operators, 3 anchors of ") == 8
    assert done.out.count("warning: REPORT MODE for ") == 8
    assert done.out.endswith("everything reads\n")


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ('anchors = "absent.pem"', "absent.pem: audit.anchors: cannot be read: No such file"),
        ('anchors = "p.toml"', "p.toml: no certificates in PEM"),
        ("background = true", "audit.anchors: this machine's certifi points to"),
    ],
)
def test_roots_of_the_logs_servers_are_read_at_the_start(run, files, monkeypatch, tmp_path, lines, problem):
    """Else every audit of the service would come to nothing, and nobody would know why before a week is over."""
    monkeypatch.setattr("certifi.where", lambda: str(tmp_path / "ca-certificates.crt"))
    files.config.write_text(f"{files.config.read_text()}[audit]\n{lines}\n")
    done = run("run", "--config", files.config, "--check")
    assert done.status == 2
    assert problem in done.err


@pytest.fixture
def make(files, tmp_path):
    """A service that does not run, with sockets and evidence of its own; its status file may stand anywhere."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
    ):
        udp.bind(("127.0.0.1", 0))
        evidence = EvidenceKeeper(tmp_path / "evidence.sqlite3", utc_now)

        def service(status=tmp_path / "status.json"):
            settings = load_settings(files.config)
            return Service(
                settings,
                load_trust(settings),
                Bound((udp,), (), ()),
                evidence,
                status,
                files=LocalFiles(settings.local),
            )

        yield service
        evidence.close()


@pytest.mark.parametrize("mode", ["enforce", "report"])
def test_service_manager_is_told_of_report_mode(make, files, tmp_path, monkeypatch, mode):
    """`systemctl status` names the upstreams that are asked whatever the verdict, and says nothing of it else."""
    files.policy.write_text(files.policy.read_text() + f'[policy]\nmode = "{mode}"\n')
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        make()._started()
        told = manager.recv(4096).decode()
    assert told.startswith("READY=1\nSTATUS=listening on 127.0.0.1 port ")
    assert ("; REPORT MODE for tls://1.1.1.1#one.one.one.one, " in told) == (mode == "report")


async def test_service_manager_is_told_what_is_not_kept(make, tmp_path, monkeypatch):
    """Evidence that waits in memory, and a task that failed, are in `systemctl status` and the status file at once."""
    service = make()
    (tmp_path / "evidence.sqlite3").unlink()
    (tmp_path / "evidence.sqlite3").mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        service._started()
        assert "EVIDENCE" not in manager.recv(4096).decode()
        await service._recorder.recall("00")
        assert "; EVIDENCE NOT KEPT since 2" in manager.recv(4096).decode()
        assert "EVIDENCE NOT KEPT" in read_status(tmp_path / "status.json").outcome
        (tmp_path / "evidence.sqlite3").rmdir()
        service._evidence.retry()
        await service._recorder.recall("00")
        assert "EVIDENCE" not in manager.recv(4096).decode()
        with trio.move_on_after(0.01):
            await service._app.containment.run("the look", fails)
        assert "; FAILING: the look: ValueError: oops" in manager.recv(4096).decode()


async def fails():
    raise ValueError("oops")


async def test_reload_without_a_thread_changes_nothing(make, monkeypatch, tmp_path):
    """It is refused in words; the service goes on."""

    async def no_thread(*_, **__):
        raise RuntimeError("can't start new thread")

    service = make()
    monkeypatch.setattr("trio.to_thread.run_sync", no_thread)
    await service._reload()
    assert read_status(tmp_path / "status.json").outcome.startswith(
        "reload refused, the policy and log list from before"
    )
    assert "can't start new thread" in read_status(tmp_path / "status.json").outcome


@pytest.mark.parametrize("mode", ["enforce", "report"])
async def test_status_file_tells_of_report_mode(make, files, tmp_path, mode):
    """What `stubresolver reload` shows ends with it, after the start and after a reload that was refused as well."""
    files.policy.write_text(files.policy.read_text() + f'[policy]\nmode = "{mode}"\n')
    service = make()
    service._started()
    outcomes = [read_status(tmp_path / "status.json").outcome]
    await service._reload()
    outcomes.append(read_status(tmp_path / "status.json").outcome)
    files.policy.write_text("nonsense")
    await service._reload()
    outcomes.append(read_status(tmp_path / "status.json").outcome)
    assert [outcome.split(":")[0].split(",")[0] for outcome in outcomes] == ["started", "reloaded", "reload refused"]
    for outcome in outcomes:
        assert ("; REPORT MODE for tls://1.1.1.1#one.one.one.one, " in outcome) == (mode == "report")


def test_status_file_that_cannot_be_written_is_a_warning(make, tmp_path, caplog):
    """The service is no worse without it, and says what will not work."""
    (tmp_path / "file").write_text("")
    make(tmp_path / "file" / "status.json")._started()
    assert "`stubresolver reload` will not find us" in caplog.text


async def test_reload_that_cannot_be_read_changes_nothing(make, files, caplog):
    """The demands, the answers and the connections from before stay, whatever is wrong with a file."""
    service = make()
    before = service._trust
    files.log_list.write_text("{}")
    await service._reload()
    assert service._trust is before
    assert "reload refused, the policy and log list from before stay in force: " in caplog.text


def dated(world, files, days):
    files.log_list.write_bytes(log_list_json(list(world.logs), now=world.now - timedelta(days=days)))


@pytest.mark.parametrize(("days", "state"), [(1, "fresh"), (50, "ageing"), (80, "stale")])
def test_status_tells_the_age_of_the_list(make, world, files, tmp_path, monkeypatch, caplog, days, state):
    """To machines in numbers, to people in the log, the status line and the outcome; a fresh one is worth no word."""
    dated(world, files, days)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        make()._started()
        told = manager.recv(4096).decode()
    status = read_status(tmp_path / "status.json")
    assert (status.log_list_age_days, status.log_list_state) == (days, state)
    assert status.log_list_timestamp == f"{world.now - timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}"
    for text in (told, status.outcome):
        assert (f"; LOG LIST {days} days old ({state})" in text) == (state != "fresh")
    assert (f"is {days} days old; " in caplog.text) == (state != "fresh")


async def test_age_is_told_again_after_a_reload_and_every_day(make, world, files, tmp_path, caplog):
    """Whoever looks at the log or the status file weeks after the start reads it as it is by then."""
    service = make()
    service._started()
    assert "days old" not in caplog.text
    dated(world, files, 50)
    await service._reload()
    assert caplog.text.count("is 50 days old; ") == 1
    before = read_status(tmp_path / "status.json")
    assert (before.reloads, before.log_list_state) == (1, "ageing")
    listed = service._trust.log_list
    service._trust = replace(service._trust, log_list=replace(listed, timestamp=listed.timestamp - timedelta(days=20)))
    await service._remind()
    after = read_status(tmp_path / "status.json")
    assert (after.reloads, after.log_list_age_days, after.log_list_state) == (1, 70, "stale")
    assert after.outcome.split(";")[0] == before.outcome.split(";")[0]
    assert caplog.text.count("is 70 days old; it is stale") == 1


def test_wrong_clock_is_told_at_the_start(make, world, files, tmp_path, caplog):
    """In the log as an error, and in the status: it is the clock, and nothing will be allowed until it is set."""
    dated(world, files, -3)
    make()._started()
    [told] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert told.getMessage().startswith("clock.floor: the clock says ")
    assert "; clock.floor: the clock says" in read_status(tmp_path / "status.json").outcome


async def test_service_reminds_while_it_runs(make, monkeypatch, autojump_clock):
    """Three days of serving, three reminders, and none after its end."""
    service, reminded = make(), []

    async def remind():
        reminded.append(trio.current_time())

    async def serve(*_):
        await trio.sleep(3 * 86400 + 1)

    async def watch(*_):
        await trio.sleep_forever()  # else three days of looks at the clocks, one a second

    monkeypatch.setattr("stubresolver.cli.service.watch", watch)
    monkeypatch.setattr(service, "_remind", remind)
    monkeypatch.setattr(service._app, "serve", serve)
    await service.run()
    assert len(reminded) == 3
