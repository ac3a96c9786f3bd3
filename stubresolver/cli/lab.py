"""`stubresolver lab`: the embedded world. A real listener, real DoT and DoH upstreams, and rogues that get refused.

Offline, on loopback, without privilege. Everything but the certificates and logs is what `run` uses: the same dial(),
the same verdict, the same resolver.
"""

import contextlib
import json
import signal
import tempfile
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

import click
import dns.message
import dns.rcode
import dns.rdatatype
import trio
from rich.console import Console
from rich.text import Text

from stubresolver.app import App
from stubresolver.cli.common import json_option, run_tasks, utc_now
from stubresolver.cli.lab_audits import show_audits
from stubresolver.config import Settings
from stubresolver.demands import build_demands
from stubresolver.errors import PolicyRefused, UpstreamError
from stubresolver.evidence import EvidenceKeeper, Recorder
from stubresolver.lab.rogues import GALLERY, Rogue
from stubresolver.lab.servers import DohServer, DotServer
from stubresolver.lab.world import NAME, World
from stubresolver.serve import Bound, bind_all, parse_listen_address
from stubresolver.upstream import Demands, Transport, Upstream, dial
from stubresolver.verify import Finding, Rule, Verdict, Verifier
from stubresolver.wire import Query

_LOOPBACK = IPv4Address("127.0.0.1")


@dataclass(frozen=True, slots=True)
class _Shown:
    """One line of the gallery."""

    rogue: Rogue
    failed: frozenset[Rule]
    rule: Rule | None  # the first that failed
    reason: str  # what it found
    octets: int  # application octets that reached the rogue

    @property
    def expected(self) -> bool:
        """True if it was refused by exactly the rules that its story says, and was told nothing."""
        return self.failed == self.rogue.expected and self.octets == 0


@click.command("lab", short_help="See it work, offline: a gallery of rogue upstreams is refused.")
@click.option("--listen", default="127.0.0.1:5300", show_default=True, metavar="ADDR:PORT", help="Where to answer.")
@click.option("--once", is_flag=True, help="End after the gallery instead of serving on.")
@json_option
def command(*, listen: str, once: bool, as_json: bool) -> int:
    """See it work, offline: honest upstreams answer, a gallery of rogues is refused, lying logs are found out.

    Starts a CA, four CT logs, DoT and DoH servers and the resolver itself on loopback, asks over both transports,
    then dials one rogue after the other and shows which rule refused it. Then logs are audited over https, honest ones
    and such that cheat. Then it serves the lab's zone until Ctrl-C.

    Exit status: 0 if every answer, verdict and audit is the expected one, 1 if not.
    """
    address = parse_listen_address(listen)
    with (
        contextlib.closing(bind_all([address])) as bound,
        tempfile.TemporaryDirectory(prefix="stubresolver-lab-") as folder,
        contextlib.closing(EvidenceKeeper(Path(folder) / "evidence.sqlite3", utc_now)) as evidence,
    ):
        return run_tasks(_lab, bound, evidence, Path(folder), once, as_json)


async def _lab(bound: Bound, evidence: EvidenceKeeper, folder: Path, once: bool, as_json: bool) -> int:
    """Build the world, show it, serve it; the exit status."""
    console = Console(quiet=as_json, highlight=False)
    world = World(utc_now())
    demands = build_demands(Verifier(world.policy, world.log_list), Recorder(evidence))
    async with trio.open_nursery() as nursery:
        upstreams = await _start_upstreams(nursery, world)
        app = App(Settings(), dict.fromkeys(upstreams, demands))
        await nursery.start(_serve, app, bound)
        _introduce(console, world, bound, upstreams)
        honest = [await _ask_honest(console, demands, upstream, as_json=as_json) for upstream in upstreams]
        rogues = await _show_gallery(console, world, demands, as_json=as_json)
        _conclude(console, rogues)
        audited = await show_audits(console, world, app, evidence, folder, as_json=as_json)
        good = all(honest) and all(shown.expected for shown in rogues) and audited
        if not good:
            console.print("[bold red]Not every answer, verdict and audit is the expected one.[/]")
        if not once:
            host, port = bound.udp[0].getsockname()[:2]
            console.print(
                f"\nServing the lab's zone until Ctrl-C. Try:  dig @{host} -p {port} www.example.lab",
                markup=False,
                soft_wrap=True,  # a command to copy
            )
            await _wait_for_signal()
        app.stop()
        nursery.cancel_scope.cancel()
    return 0 if good else 1


async def _start_upstreams(nursery: trio.Nursery, world: World) -> tuple[Upstream, ...]:
    """The honest upstreams, DoT and DoH, each on a port of its own."""
    credential = world.issue()
    dot: int = await nursery.start(DotServer(credential, world.zone.answer).serve)
    doh: int = await nursery.start(DohServer(credential, world.zone.answer).serve)
    return (Upstream(Transport.DOT, _LOOPBACK, dot, NAME), Upstream(Transport.DOH, _LOOPBACK, doh, NAME))


async def _serve(app: App, bound: Bound, *, task_status: trio.TaskStatus[None]) -> None:
    await app.serve(bound.udp, bound.tcp, task_status.started)


def _introduce(console: Console, world: World, bound: Bound, upstreams: tuple[Upstream, ...]) -> None:
    """What has been started, and what it stands for."""
    host, port = bound.udp[0].getsockname()[:2]
    console.print(Text("The lab", style="bold"))
    console.print(
        "In 2024 and 2025 a CA, Fina, issued twelve certificates for 1.1.1.1 without permission. A DNS client that "
        "trusts every CA of its store would have sent its queries to whoever held one. Here is that world in small, on "
        "loopback. Only the CAs, the logs and the servers are made up; the resolver is the one that `run` runs.\n",
        markup=False,
    )
    logs = ", ".join(f"{log.description} ({log.operator}, {log.state})" for log in world.logs)
    for label, text in (
        ("CAs in the store", "Lab CA (allowed), Finish CA (not allowed), Leaky CA (allowed, one key denied)"),
        ("CT logs", logs),
        ("upstreams", ", ".join(map(str, upstreams))),
        ("resolver", f"{host} port {port}, UDP and TCP"),
    ):
        console.print(Text.assemble((f"  {label:<17}", "dim"), text), soft_wrap=True)


async def _ask_honest(console: Console, demands: Demands, upstream: Upstream, *, as_json: bool) -> bool:
    """One query through each honest upstream, and what was known of it first."""
    query = Query(dns.message.make_query("example.lab", dns.rdatatype.A, use_edns=0, id=1).to_wire(), tcp=True)
    app = App(Settings(), {upstream: demands})
    wire, statistics = await app.ask(query)
    answer = dns.message.from_wire(wire)
    line = statistics.upstreams[0]
    good = (
        answer.rcode() == dns.rcode.NOERROR
        and bool(answer.answer)
        and line.verdict is not None
        and line.verdict.allowed
    )
    verdict = line.verdict.summary if line.verdict else line.last_error
    if as_json:
        click.echo(json.dumps({"honest": str(upstream), "answered": good, "verdict": verdict}))
        return good
    if upstream.transport is Transport.DOT:
        console.print("\n[bold]Honest upstreams[/]: judged first, then asked for example.lab")
    facts = f"{line.tls.version} {line.tls.group}" if line.tls else ""
    records = ", ".join(record.to_text() for rrset in answer.answer for record in rrset)
    mark = ("  ALLOWED  ", "bold green") if good else ("  FAILED   ", "bold red")
    console.print(Text.assemble(mark, f"{upstream.transport.name}  {verdict}  {facts}  → {records}"), soft_wrap=True)
    return good


async def _show_gallery(console: Console, world: World, demands: Demands, *, as_json: bool) -> list[_Shown]:
    """Dial every rogue through the one door, and show what became of it."""
    console.print("\n[bold]Rogues[/]: each would have answered every query; none is ever asked one")
    shown = []
    for rogue in GALLERY:
        item = await _dial_rogue(rogue, world, demands)
        shown.append(item)
        if as_json:
            click.echo(json.dumps(_jsonable(item)))
        console.print(Text.assemble((f"\n  {rogue.title}. ", "bold"), rogue.story), soft_wrap=True)
        also = f"  (also {', '.join(sorted(item.failed - {item.rule}))})" if len(item.failed) > 1 else ""
        mark = ("  REFUSED  ", "bold red") if item.expected else ("  UNEXPECTED  ", "bold yellow")
        line = Text.assemble(mark, (item.rule or "not refused", "red"), f": {item.reason}", (also, "dim"))
        console.print(line, soft_wrap=True)
    return shown


async def _dial_rogue(rogue: Rogue, world: World, demands: Demands) -> _Shown:
    """Start one rogue, dial it, and see which rules refused it and how many query octets it was sent."""
    async with trio.open_nursery() as nursery:
        server = rogue.server(world)
        port: int = await nursery.start(server.serve)
        failed: list[Finding] = []
        reason = "a query could have been sent"
        try:
            stream = await dial(Upstream(Transport.DOT, _LOOPBACK, port, NAME), demands)
            await stream.aclose()
        except PolicyRefused as error:
            failed = list(error.verdict.failures) if isinstance(error.verdict, Verdict) else []
        except UpstreamError as error:
            reason = error.summary
        nursery.cancel_scope.cancel()
    return _Shown(
        rogue,
        frozenset(finding.rule for finding in failed),
        failed[0].rule if failed else None,
        failed[0].detail if failed else reason,
        server.tally.application_octets,
    )


def _conclude(console: Console, rogues: list[_Shown]) -> None:
    refused = sum(bool(shown.failed) for shown in rogues)
    octets = sum(shown.octets for shown in rogues)
    console.print(f"\n{refused} of {len(rogues)} rogues refused; {octets} octets of queries reached them.")


def _jsonable(item: _Shown) -> dict[str, object]:
    return {
        "rogue": item.rogue.code,
        "failed": sorted(item.failed),
        "expected": sorted(item.rogue.expected),
        "as_expected": item.expected,
        "reason": item.reason,
        "application_octets": item.octets,
    }


async def _wait_for_signal() -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            return
