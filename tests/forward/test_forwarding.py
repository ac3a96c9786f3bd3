"""The servers of forward zones at work: files that are followed, tables that do not know each other."""

from pathlib import Path
from types import SimpleNamespace

import dns.message
import pytest
import trio

from stubresolver.app import App
from stubresolver.config import Settings, parse_settings
from stubresolver.errors import ConnectFailed, NoUpstream
from stubresolver.forward import Forwarding
from stubresolver.local.names import zone_name
from stubresolver.netwatch import Change, Kind
from stubresolver.upstream import DialFailed, parse_upstream
from stubresolver.wire.edns import upstream_query
from stubresolver.wire.query import Query


def settings_of(text: str, folder: Path) -> Settings:
    return parse_settings(text.encode(), "mine.toml", folder)


def lines(forwarding: Forwarding) -> list[str]:
    return [*forwarding.lines(), *forwarding.problems()]


def query(name: str) -> bytes:
    return upstream_query(Query(dns.message.make_query(name, "A", use_edns=0).to_wire()))


@pytest.fixture
def text(tmp_path: Path) -> str:
    (tmp_path / "resolv.conf").write_text("nameserver 10.0.0.53\n")
    return (
        '[[forward]]\nzone = "lan"\nupstreams = ["udp://10.0.0.1", "udp://10.0.0.2"]\n'
        '[[forward]]\nzone = "corp"\nupstreams = "resolv.conf:resolv.conf"\n'
        '[[forward]]\nzone = "gone"\nupstreams = "resolv.conf:absent"\n'
    )


def test_who_is_asked_is_told_aloud(text: str, tmp_path: Path) -> None:
    """Plain DNS is never quiet: which zones, whom, by which file, and what of it cannot be used."""
    forwarding = Forwarding(settings_of(text, tmp_path).forward, {})
    warning = "PLAIN DNS, neither encrypted nor verified, to"
    assert lines(forwarding) == [
        f"forward lan: {warning} udp://10.0.0.1, udp://10.0.0.2",
        f"forward corp: {warning} udp://10.0.0.53 of {tmp_path}/resolv.conf",
        f"forward gone: {warning} nobody of {tmp_path}/absent",
        f"{tmp_path}/absent: cannot be read: No such file or directory",
    ]


async def test_missing_file_is_the_reason_in_each_answer(text: str, tmp_path: Path) -> None:
    """Nobody guesses why a zone has no answers."""
    forwarding = Forwarding(settings_of(text, tmp_path).forward, {})
    results: list[bytes | Exception] = []
    forwarding.routes[2].exchanger.exchange_soon(query("x.gone"), results.append)
    [error] = results
    assert isinstance(error, NoUpstream)
    assert error.summary == f"gone: {tmp_path}/absent: cannot be read: No such file or directory"


async def test_our_own_listeners_are_asked_by_no_table(text: str, tmp_path: Path) -> None:
    """Known once sockets are bound, whoever named the address: systemd's sockets stand in no configuration."""
    forwarding = Forwarding(settings_of(text, tmp_path).forward, {})
    forwarding.avoid({("10.0.0.1", 53), ("10.0.0.2", 53), ("10.0.0.53", 53)})
    results: list[bytes | Exception] = []
    for name, route in zip(("x.lan", "x.corp"), forwarding.routes, strict=False):
        route.exchanger.exchange_soon(query(name), results.append)
    assert [str(error) for error in results] == [
        "lan: its server is this resolver itself",
        f"corp: {tmp_path}/resolv.conf: names no server that may be asked",
    ]
    assert forwarding.statistics() == ()


async def test_changed_file_is_in_force_and_told(text: str, tmp_path: Path) -> None:
    """After two looks; the same servers written anew, as by a lease that is renewed, change nothing."""
    forwarding = Forwarding(settings_of(text, tmp_path).forward, {})
    path, told = tmp_path / "resolv.conf", list[str]()

    async def look() -> list[str]:
        told.clear()
        for _ in range(2):
            await forwarding._look(lambda zone: told.append(str(zone)))
        return told

    path.write_text("# lease 2\nnameserver 10.0.0.53\n")
    assert await look() == []
    path.write_text("nameserver 10.0.0.54\n")
    assert await look() == ["corp"]
    assert [line.upstream for line in forwarding.statistics()][2:] == ["udp://10.0.0.54"]
    path.unlink()
    (tmp_path / "absent").write_text("nameserver 10.0.0.55\n")
    assert await look() == ["corp", "gone"]
    assert [line.upstream for line in forwarding.statistics()][2:] == ["udp://10.0.0.55"]


async def test_files_are_watched(text: str, tmp_path: Path, autojump_clock: object) -> None:
    """Without a signal, for as long as the service runs; where there is no file nobody looks."""
    forwarding, seen = Forwarding(settings_of(text, tmp_path).forward, {}), trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(forwarding.watch, lambda _: seen.set())
        (tmp_path / "absent").write_text("nameserver 10.0.0.55\n")
        await seen.wait()
        nursery.cancel_scope.cancel()
    await Forwarding([], {}).watch(lambda _: None)


async def test_answers_of_a_zone_are_forgotten_with_its_servers(text: str, tmp_path: Path) -> None:
    """Those of other names stay; an answer on its way is given out and not kept."""
    settings = settings_of(text, tmp_path)
    app, held = App(settings, {}), []
    app._routes.default.exchange_soon = lambda wire, reply: held.append((wire, reply))
    for route in app._forwarding.routes:
        route.exchanger.exchange_soon = lambda wire, reply: held.append((wire, reply))
    names = ["a.corp", "b.corp", "a.example"]
    queries = [Query(dns.message.make_query(name, "A", use_edns=0).to_wire()) for name in names]
    replies: list[bytes] = []
    for each in queries:
        app._resolver.answer_soon(each, replies.append)

    def answer(number: int) -> None:
        wire, reply = held[number]
        message = dns.message.make_response(dns.message.from_wire(wire))
        record = dns.rrset.from_text(message.question[0].name, 60, "IN", "A", "192.0.2.1")
        message.answer.append(record)
        reply(message.to_wire())

    answer(0)
    answer(2)
    app._ask_others(settings.forward[1])
    answer(1)
    assert len(replies) == 3
    now = trio.current_time()
    assert [app._resolver.answer_nowait(each, now) is not None for each in queries] == [False, False, True]
    octets = app.pack_cache("d", 0.0)
    assert await App(settings, {}).restore_cache(octets, "d", 0.0) == 1


@pytest.mark.parametrize(("kind", "stays"), [(Kind.NETWORK, False), (Kind.RESUME, False), (Kind.CLOCK, True)])
async def test_what_a_plain_server_said_stays_in_its_network(kind: Kind, stays: bool, tmp_path: Path) -> None:
    """At the router's address there is another router in the next network; who is judged is the same in every one."""
    tables = (
        '[[forward]]\nzone = "lan"\nupstreams = "udp://192.168.1.1"\n'
        '[[forward]]\nzone = "corp"\nupstreams = "tls://10.0.0.1"\n'
    )
    settings = settings_of(tables, tmp_path)
    app, held = App(settings, dict.fromkeys(settings.all_upstreams, SimpleNamespace(policy=""))), []
    app._routes.default.exchange_soon = lambda wire, reply: held.append((wire, reply))
    for route in app._forwarding.routes:
        route.exchanger.exchange_soon = lambda wire, reply: held.append((wire, reply))
    names = ["nas.lan", "a.corp", "a.example", "late.lan"]
    queries = [Query(dns.message.make_query(name, "A", use_edns=0).to_wire()) for name in names]
    replies: list[bytes] = []
    for each in queries:
        app._resolver.answer_soon(each, replies.append)

    def answer(number: int) -> None:
        wire, reply = held[number]
        message = dns.message.make_response(dns.message.from_wire(wire))
        message.answer.append(dns.rrset.from_text(message.question[0].name, 60, "IN", "A", "192.0.2.1"))
        reply(message.to_wire())

    for number in range(3):
        answer(number)
    app.moved(Change(kind, "another", reachable=True))
    answer(3)
    assert len(replies) == 4
    now = trio.current_time()
    found = [app._resolver.answer_nowait(each, now) is not None for each in queries]
    assert found == [stays, True, True, stays]


async def test_zone_answers_are_neither_kept_nor_restored(tmp_path: Path) -> None:
    """They belong to a network. What was kept before a name had a zone is left out, too."""
    before, reply = App(Settings(), {}), []
    before._routes.default.exchange_soon = lambda wire, reply: None
    before._resolver._exchanger = type(
        "Held", (), {"exchange_soon": lambda _, wire, take: reply.append((wire, take))}
    )()
    before._resolver.answer_soon(Query(dns.message.make_query("a.corp", "A", use_edns=0).to_wire()), bytes)
    [(wire, take)] = reply
    message = dns.message.make_response(dns.message.from_wire(wire))
    message.answer.append(dns.rrset.from_text("a.corp.", 60, "IN", "A", "192.0.2.1"))
    take(message.to_wire())
    octets = before.pack_cache("d", 0.0)
    zone = settings_of('[[forward]]\nzone = "corp"\nupstreams = "udp://10.0.0.1"\n', tmp_path)
    assert await App(Settings(), {}).restore_cache(octets, "d", 0.0) == 1
    assert await App(zone, {}).restore_cache(octets, "d", 0.0) == 0


def test_hundred_zones_are_one_table_of_names(tmp_path: Path) -> None:
    """However many there are, a name is looked up label by label."""
    tables = "".join(f'[[forward]]\nzone = "z{n}.example"\nupstreams = "udp://10.0.0.1"\n' for n in range(100))
    app = App(settings_of(tables, tmp_path), {})
    found = app._routes.of_name(zone_name("a.b.z57.example"))
    assert found is app._forwarding.routes[57]
    assert app._routes.of_name(zone_name("z100.example")) is None


@pytest.mark.parametrize("summary", ["tls://10.0.0.1: refused", "refused"])
async def test_events_name_their_zone(tmp_path: Path, caplog: pytest.LogCaptureFixture, summary: str) -> None:
    """A line of the log about an upstream says for which names it is asked."""
    settings = settings_of('[[forward]]\nzone = "a"\nupstreams = "tls://10.0.0.1"\n', tmp_path)
    app = App(settings, dict.fromkeys(settings.all_upstreams))
    [pool] = app._forwarding._pools
    pool._lines._holding._report(DialFailed(settings.forward[0].upstreams[0], ConnectFailed(summary)))
    assert [record.getMessage() for record in caplog.records] == ["forward a: tls://10.0.0.1: refused"]


def test_upstreams_of_zones_have_pools_of_their_own(tmp_path: Path) -> None:
    """One pool for each table, and none of them asks the upstreams of another."""
    settings = settings_of(
        'upstreams = ["tls://1.1.1.1"]\n[[forward]]\nzone = "a"\nupstreams = ["tls://10.0.0.1", "tls://10.0.0.2"]\n'
        '[[forward]]\nzone = "b"\nupstreams = "https://10.0.0.3/"\n',
        tmp_path,
    )
    app = App(settings, dict.fromkeys(settings.all_upstreams))
    assert [str(line.upstream) for line in app._pool._lines] == ["tls://1.1.1.1"]
    assert [[str(line.upstream) for line in pool._lines] for pool in app._forwarding._pools] == [
        ["tls://10.0.0.1", "tls://10.0.0.2"],
        ["https://10.0.0.3/"],
    ]
    assert parse_upstream("tls://10.0.0.1") in settings.all_upstreams
    shared = app._pool._lines._refusals  # an address that is refused is refused to all of them
    assert all(pool._lines._refusals is shared for pool in app._forwarding._pools)


def test_figures_by_zone(tmp_path):
    """Whom each table asks, and what went there in clear; those with TLS first."""
    text = (
        '[[forward]]\nzone = "a"\nupstreams = "udp://10.0.0.1"\n[[forward]]\nzone = "b"\nupstreams = "tls://10.0.0.2"\n'
    )
    settings = settings_of(text, tmp_path)
    forwarding = Forwarding(settings.forward, dict.fromkeys(settings.all_upstreams, SimpleNamespace(policy="strict")))
    forwarding._plain[0].exchanger.sent = 7

    async def told():
        await trio.lowlevel.checkpoint()
        return forwarding.by_zone()

    first, second = trio.run(told)
    assert (str(first.zone), first.clear, first.sent_in_clear) == ("b", False, 0)
    assert (str(second.zone), second.clear, second.sent_in_clear) == ("a", True, 7)
    assert [each.servers[0].upstream for each in (first, second)] == ["tls://10.0.0.2", "udp://10.0.0.1"]
