"""`stubresolver cache`: what a person reads, and what is said when the service cannot be asked."""

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import dns.message
import dns.rrset
import pytest
import trio

from stubresolver.cache import AnswerCache, CacheOptions
from stubresolver.control import CacheCommands, ControlServer, ControlSocket
from stubresolver.errors import UpstreamError
from stubresolver.resolve import Resolver, ResolverOptions
from stubresolver.wire.query import Query

Run = Callable[..., object]


class Upstream:
    """Answers at once: an address, NXDOMAIN with a text of somebody's, or nothing."""

    def exchange_soon(self, query: bytes, reply: Callable[[bytes | UpstreamError], None]) -> None:
        response = dns.message.make_response(dns.message.from_wire(query))
        name = response.question[0].name
        if name.to_text().startswith("none"):
            response.set_rcode(dns.rcode.NXDOMAIN)
            response.authority.append(dns.rrset.from_text("example.", 60, "IN", "SOA", "a. b. 1 2 3 4 60"))
            error = dns.edns.EDEOption(dns.edns.EDECode.OTHER, "\x1b[2Jgone")
            response.use_edns(0, options=[error])
        elif name.to_text().startswith("down"):
            reply(UpstreamError("closed"))
            return
        else:
            response.answer.append(dns.rrset.from_text(name, 60, "IN", "A", "192.0.2.1"))
        reply(response.to_wire())


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A cache with some names behind a control socket, where the commands look for it."""
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    standing = threading.Event()
    known: dict[str, object] = {}

    async def serve() -> None:
        cache = AnswerCache(CacheOptions())
        resolver = Resolver(Upstream(), cache, ResolverOptions())
        for name in ("www.example.com", "example.com", "none.example", "down.example"):
            await resolver.answer(Query(dns.message.make_query(name, "A", use_edns=0).to_wire()))
        await resolver.answer(Query(dns.message.make_query("example.com", "A", want_dnssec=True, flags=0).to_wire()))
        with ControlSocket(tmp_path / "control.sock") as sock:
            async with trio.open_nursery() as nursery:
                known["token"], known["scope"] = trio.lowlevel.current_trio_token(), nursery.cancel_scope
                await nursery.start(ControlServer(sock, CacheCommands(cache, resolver).commands).run)
                standing.set()

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    assert standing.wait(10)
    yield tmp_path / "control.sock"
    token, scope = known["token"], known["scope"]
    assert isinstance(token, trio.lowlevel.TrioToken)
    assert isinstance(scope, trio.CancelScope)
    token.run_sync_soon(scope.cancel)
    thread.join(10)


def test_stats(run: Run, service: Path) -> None:
    """How full it is, and what came of the queries."""
    told = run("cache", "stats")
    assert told.status == 0
    assert told.out.startswith("entries: 5, 0.0 of 12.0 MiB; 5 came, 0 went to make room\nqueries: 5\n")
    assert "         5  sent upstream\n" in told.out
    machine = json.loads(run("cache", "stats", "--json", "--socket", service).out)
    assert (machine["entries"], machine["misses"], machine["hits"]) == (5, 5, 0)


def test_show(run: Run, service: Path) -> None:
    """Each kind of client, its records, and the TTL that is left."""
    told = run("cache", "show", "Example.com")
    assert told.status == 0
    first, record, second, *_ = told.out.splitlines()
    assert first.startswith("Example.com A +EDNS: answer, 0 s old, ends in ")
    assert "not asked for since" in first
    assert record.startswith("    example.com. 60 IN A 192.0.2.1")
    assert second.startswith("Example.com A +EDNS +DO -RD: answer")
    lines = run("cache", "show", "example.com", "--json").out.splitlines()
    assert [json.loads(line)["type"] for line in lines] == [1, 1]


def test_show_what_is_no_answer(run: Run, service: Path) -> None:
    """A denial shows its SOA record, a failure its reason; a text that would steer the terminal is left out."""
    told = run("cache", "show", "none.example").out
    assert "answer" in told
    assert "\n    NXDOMAIN\n    example. 60 IN SOA a. b. 1 2 3 4 60\n" in told
    assert "EDE 0 (Other)" in told
    assert "\x1b" not in told
    told = run("cache", "show", "down.example").out
    assert "failure" in told
    assert "\n    SERVFAIL\n" in told
    assert "closed" in told


def test_show_nothing(run: Run, service: Path) -> None:
    """A name about which nothing is kept is exit status 1."""
    told = run("cache", "show", "com")
    assert (told.status, told.out, told.err) == (1, "", "nothing is kept about com\n")


def test_flush(run: Run, service: Path) -> None:
    """A name with what is below it, then everything."""
    assert run("cache", "flush", "example.com").out == "3 entries forgotten\n"
    assert run("cache", "show", "www.example.com").status == 1
    assert run("cache", "flush", "down.example").out == "1 entry forgotten\n"
    assert run("cache", "flush", "--json").out == '{"entries":1}\n'
    assert run("cache", "flush").out == "0 entries forgotten\n"


@pytest.mark.parametrize("name", ["a..b", "x" * 64, "", "@"])
def test_no_name(run: Run, service: Path, name: str) -> None:
    """What is no name is bad input, and nothing is forgotten for it."""
    for command in ("show", "flush"):
        told = run("cache", command, name)
        assert told.status == 2, told
        assert "is not a domain name" in told.err
    assert json.loads(run("cache", "stats", "--json").out)["entries"] == 5


def test_a_name_of_other_letters(run: Run, service: Path) -> None:
    """A name that is not ASCII is asked for as browsers would (IDNA)."""
    assert run("cache", "show", "bücher.example").err == "nothing is kept about bücher.example\n"


def test_no_service(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What to do is said: where there is no socket, where nobody listens, where it is no socket."""
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    told = run("cache", "stats")
    assert told.status == 2
    assert "control.sock: not there: no service of this user is running" in told.err
    left = tmp_path / "left.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(left))
    told = run("cache", "stats", "--socket", left)
    assert (told.status, "start the service" in told.err) == (2, True)
    (tmp_path / "file").touch()
    for none in (tmp_path / "file", tmp_path):
        told = run("cache", "stats", "--socket", none)
        assert (told.status, "is there, and no socket; the service's is " in told.err) == (2, True)
    told = run("cache", "stats", "--socket", tmp_path / ("x" * 200))
    assert (told.status, "cannot be asked" in told.err) == (2, True)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"", "hung up"),
        (b'{"result":', "hung up"),
        (b"hello\n", "not the answer of a service of this version"),
        (b"\xff\n", "not the answer of a service of this version"),
        (b"{}\n", "not the answer of a service of this version"),
        (b'{"result":{"entries":"many"}}\n', "not the answer of a service of this version"),
        (b'{"error":"no \\u001b[2J"}\n', r"the service says: no \x1b[2J"),
    ],
)
def test_somebody_else_answers(run: Run, tmp_path: Path, said: bytes, words: str) -> None:
    """Whatever comes out of the socket is an answer or an error in one line."""
    path = tmp_path / "other.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()

        def answer() -> None:
            connection, _ = sock.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(said)

        thread = threading.Thread(target=answer)
        thread.start()
        told = run("cache", "flush", "--socket", path)
        thread.join(10)
    assert told.status == 2
    assert words in told.err
    assert len(told.err.splitlines()) == 1


def test_the_service_is_busy(run: Run, tmp_path: Path) -> None:
    """A service that hangs up at once, with the question unread, has said so: no talk of pipes."""
    path = tmp_path / "busy.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()

        def hang_up() -> None:
            connection, _ = sock.accept()
            assert connection.recv(1)  # more than that is sent
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        told = run("cache", "stats", "--socket", path)
        thread.join(10)
    assert (told.status, "hung up: it is busy" in told.err) == (2, True), told


def test_a_socket_that_is_named_and_not_for_us(run: Run, service: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it may be asked is the system's to say, when it is asked: no usage error of the command line."""
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    assert run("cache", "stats", "--socket", service).status == 0

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    told = run("cache", "stats", "--socket", service)
    assert (told.status, "only root and the service's own user may ask it: try sudo" in told.err) == (2, True)


def test_the_socket_is_not_for_everybody(run: Run, service: Path) -> None:
    """Another user's question is refused by the system; root asks all the same."""
    service.chmod(0)
    told = run("cache", "stats")
    assert told.status == (0 if os.geteuid() == 0 else 2)
