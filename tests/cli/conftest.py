"""The command line as a person uses it: arguments in; exit status and texts out. And servers to point it at."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
import trio

from stubresolver.cli.main import main
from stubresolver.config import load_log_list, load_policy
from stubresolver.evidence import EvidenceStore
from stubresolver.lab.authority import Credential
from stubresolver.lab.servers import DohServer, DotServer
from stubresolver.lab.world import World
from stubresolver.verify import Presented, Verifier


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    status: int
    out: str
    err: str


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Outcome]:
    """Run `stubresolver ARGUMENTS`, its state in a folder of the test's own."""
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "200")

    def command(*arguments: object) -> Outcome:
        monkeypatch.setattr("sys.argv", ["stubresolver", *map(str, arguments)])
        status = main()
        captured = capsys.readouterr()
        return Outcome(status, captured.out, captured.err)

    return command


@pytest.fixture(scope="session")
def world() -> World:
    """A lab world of this moment: the commands read the real clock, and any moment will do."""
    return World(datetime.now(UTC))


@dataclass(frozen=True)
class Files:
    """A world as files: what a person would name on the command line."""

    config: Path
    policy: Path
    log_list: Path
    anchors: Path
    chain: Path


@pytest.fixture
def files(world: World, tmp_path: Path) -> Files:
    """The world's policy, log list, anchors and an honest chain."""
    found = Files(*(tmp_path / name for name in ("c.toml", "p.toml", "list.json", "roots.pem", "chain.pem")))
    found.anchors.write_bytes(world.anchors_pem)
    found.log_list.write_bytes(world.log_list_json)
    found.chain.write_bytes(world.issue().chain_pem)
    found.policy.write_text(
        f'[anchors]\nsource = "{found.anchors}"\n'
        f'[issuers]\nallow = [{{ name = "Lab", spki_sha256 = "{world.lab.root_spki_sha256}" }}]\n'
    )
    found.config.write_text('[trust]\npolicy = "p.toml"\nlog_list = "list.json"\n')
    return found


UPSTREAM = "tls://127.0.0.1#dns.lab"


@pytest.fixture
def kept(world: World, files: Files, tmp_path: Path) -> dict[str, str]:
    """Evidence of three judgements an hour apart, by what they are: their ids. The first is the oldest."""
    policy, log_list = load_policy(files.policy), load_log_list(files.log_list)
    verifier = Verifier(policy, log_list)
    shown = {
        "honest": world.issue().chain,
        "unlogged": world.issue(()).chain,
        "finish": world.issue(authority=world.finish).chain,
    }
    ids = {}
    store = EvidenceStore(tmp_path / "state" / "evidence.sqlite3")
    store.keep_demands(policy, log_list)
    for hours, (name, chain) in zip((3, 2, 1), shown.items(), strict=True):
        presented = Presented(ip_address("127.0.0.1"), "dns.lab", chain)
        verdict = verifier.judge(presented, world.now - timedelta(hours=hours))
        ids[name] = store.record(UPSTREAM, presented, verdict).id
    store.close()
    return ids


Start = Callable[..., tuple[DotServer | DohServer, int]]


@pytest.fixture
def start(world: World) -> Iterator[Start]:
    """Start a DoT (or DoH) server with a credential, in a thread of its own; gives it and its port."""
    ends: list[Callable[[], None]] = []

    def begin(credential: Credential | None = None, *, doh: bool = False) -> tuple[DotServer | DohServer, int]:
        server = (DohServer if doh else DotServer)(credential or world.issue(), world.zone.answer)
        standing = threading.Event()
        known: dict[str, object] = {}

        async def serve() -> None:
            async with trio.open_nursery() as nursery:
                known["port"] = await nursery.start(server.serve)
                known["token"] = trio.lowlevel.current_trio_token()
                known["scope"] = nursery.cancel_scope
                standing.set()

        thread = threading.Thread(target=trio.run, args=(serve,))
        thread.start()
        assert standing.wait(10)

        def end() -> None:
            token, scope = known["token"], known["scope"]
            assert isinstance(token, trio.lowlevel.TrioToken)
            assert isinstance(scope, trio.CancelScope)
            token.run_sync_soon(scope.cancel)
            thread.join(10)

        ends.append(end)
        port = known["port"]
        assert isinstance(port, int)
        return server, port

    yield begin
    for end in ends:
        end()
