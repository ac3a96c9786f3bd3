"""Which certificates an audit is about: what upstreams show now, what the evidence has, or what a file holds."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import click
import trio
from rich.console import Console

from stubresolver.cli.common import utc_now
from stubresolver.cli.shown import clean, kept_verdict
from stubresolver.config import read_file
from stubresolver.errors import BadInput, UpstreamError
from stubresolver.evidence import EvidenceStore
from stubresolver.upstream import Demands, Upstream, inspect
from stubresolver.verify import Presented, UnreadableCertificate, Verdict, Verifier, certificates_from_pem


@dataclass(frozen=True, slots=True)
class Subject:
    """A certificate that is to be proved, and what our policy says of it."""

    shown_by: str
    leaf: bytes  # DER
    verdict: Verdict


async def inspect_all(demands: Mapping[Upstream, Demands], *, as_json: bool) -> list[Subject]:
    """What every upstream shows now, all dialled at once; who is not reached is told."""
    found: dict[Upstream, Subject] = {}

    async def look(upstream: Upstream) -> None:
        try:
            presented, verdict = await inspect(upstream, demands[upstream])
        except UpstreamError as error:
            if as_json:
                click.echo(json.dumps({"upstream": str(upstream), "error": error.summary}))
            else:
                Console(stderr=True).print(clean(f"NOT REACHED  {error.summary}", style="yellow"), soft_wrap=True)
        else:
            found[upstream] = Subject(str(upstream), presented.chain[0], verdict)

    async with trio.open_nursery() as nursery:
        for upstream in demands:
            nursery.start_soon(look, upstream)
    return [found[upstream] for upstream in demands if upstream in found]


def from_evidence(store: EvidenceStore, upstreams: Sequence[Upstream]) -> list[Subject]:
    """The newest certificate of each upstream that was allowed; raises `BadInput` where there is none."""
    subjects = []
    for upstream in upstreams:
        for record in store.records(limit=1, allowed=True, upstream=str(upstream)):
            exported = store.export(record.id)
            subjects.append(Subject(str(upstream), exported.presented.chain[0], kept_verdict(exported)))
    if not subjects:
        raise BadInput("the evidence has no allowed certificate of these upstreams")
    return subjects


def from_file(file: Path, address: IPv4Address | IPv6Address, verifier: Verifier) -> Subject:
    """The certificate of a PEM file, judged now as if it had been shown at the address; raises `BadInput`."""
    try:
        chain = certificates_from_pem(read_file(file, ""))
    except UnreadableCertificate as error:
        raise BadInput(f"{file}: {error}") from None
    return Subject(f"{file} for {address}", chain[0], verifier.judge(Presented(address, None, chain), utc_now()))
