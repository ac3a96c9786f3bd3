"""Judge real certificates by each of many daily log lists, and tell the days on which a verdict changed, and why.

    python tools/replay.py ../shared/data                 # every certificate, every list, with a progress bar
    python tools/replay.py ../shared/data --json          # one JSON object for each change, and one for the whole
    python tools/replay.py ../shared/data --certificates quad9 --lists 2025

For each certificate and each list: on a day within the certificate's validity it is judged for that day. On any other
day it is judged for a time of its own, a third into its validity, still with the list of that day: what would have been
said if the certificate had been shown under that list. So every certificate meets every list.

The demands are those of the shipped policy, with the certificates' own roots added to its anchors, and the address
demanded where the certificate has one: a certificate without one could never be an upstream's. The age of a list
refuses nothing: asked is what this list says of the certificate, not whether it was too old by then. Each verdict is
judged anew, nothing is carried over from one list to the next. DATA is a folder with certs/index.json and
loglists/*.tar.xz.
"""

import argparse
import json
import sys
import tarfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography.utils import CryptographyDeprecationWarning
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from stubresolver.config import load_policy
from stubresolver.ct import LogList
from stubresolver.verify import Presented, Verdict, Verifier, WhenStale, certificates_from_pem


@dataclass(frozen=True, slots=True)
class Certificate:
    """One real leaf with its chain."""

    name: str
    presented: Presented
    start: datetime
    end: datetime

    def moment(self, day: datetime) -> tuple[datetime, bool]:
        """When it is judged on a day, and whether that is the day itself."""
        if self.start <= day <= self.end:
            return day, True
        return self.start + (self.end - self.start) / 3, False


@dataclass(frozen=True, slots=True)
class Change:
    """A day on which the verdict on a certificate was not that of the day before."""

    certificate: str
    day: str
    valid: bool  # the certificate was valid on this day, and judged for it
    before: str  # "allowed" or "refused"
    after: str
    why: tuple[str, ...]  # rules and SCTs that changed: "ct.scts PASS -> FAIL"


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What of a verdict is compared: no times, no counts of days, no names that a list gives."""

    word: str  # "allowed" or "refused"
    facts: dict[str, str]  # a rule and its outcomes, an SCT and its status
    logs: dict[str, str] = field(compare=False)  # an SCT and the name of its log, as far as the list knows it

    @classmethod
    def of(cls, verdict: Verdict) -> "_Outcome":
        """The outcome of a verdict."""
        rules: dict[str, set[str]] = {}
        for finding in verdict.findings:
            rules.setdefault(finding.rule.value, set()).add(finding.outcome.value)
        facts = {rule: "/".join(sorted(outcomes)) for rule, outcomes in rules.items()}
        facts |= {f"SCT {number}": sct.status.value for number, sct in enumerate(verdict.scts, 1)}
        logs = {f"SCT {number}": sct.log for number, sct in enumerate(verdict.scts, 1) if sct.log}
        return cls("allowed" if verdict.allowed else "refused", facts, logs)

    def since(self, before: "_Outcome") -> tuple[str, ...]:
        """What is not as it was."""
        logs = before.logs | self.logs
        return tuple(
            f"{name}{f' ({logs[name]})' if name in logs else ''} {old} -> {new}"
            for name in self.facts | before.facts
            if (old := before.facts.get(name, "none")) != (new := self.facts.get(name, "none"))
        )


def main() -> int:
    """Replay, and print; the exit status is 0 however often verdicts changed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder with certs/ and loglists/")
    parser.add_argument("--certificates", default="", metavar="TEXT", help="only those whose name contains it")
    parser.add_argument("--lists", default="", metavar="TEXT", help="only those whose day begins with it: 2025-03")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", category=CryptographyDeprecationWarning)  # old roots with odd serial numbers
    certificates, roots = read_certificates(arguments.data / "certs", arguments.certificates)
    shipped = load_policy(None)
    # A certificate may be judged for a time that lies months after the list; its age would hide what is asked here.
    ct = replace(shipped.ct, when_stale=WhenStale.REPORT) if shipped.ct is not None else None
    policy = replace(shipped, anchors=tuple(dict.fromkeys((*shipped.anchors, *roots))), address_required=False, ct=ct)
    started = time.monotonic()
    changes: list[Change] = []
    tally: Counter[str] = Counter()
    last: dict[str, _Outcome] = {}
    with Progress(console=Console(stderr=True)) as progress:
        lists = read_lists(arguments.data / "loglists", arguments.lists)
        for log_list in progress.track(lists, description="judging"):
            changes += judge_all(Verifier(policy, log_list), certificates, log_list.timestamp, last, tally)
    facts = {
        "certificates": len(certificates),
        "lists": len(lists),
        "days": [f"{each.timestamp:%Y-%m-%d}" for each in (lists[:1] + lists[-1:])],
        "judgements": tally.total(),
        "judged_for_the_day": tally["day, allowed"] + tally["day, refused"],
        "allowed": tally["day, allowed"] + tally["own time, allowed"],
        "changes": len(changes),
        "seconds": round(time.monotonic() - started, 1),
    }
    if arguments.json:
        for change in changes:
            print(json.dumps(asdict(change)))
        print(json.dumps(facts))
    else:
        show(changes, facts)
    return 0


def read_certificates(folder: Path, part: str) -> tuple[list[Certificate], list[bytes]]:
    """The certificates of the index whose name contains `part`, and the roots of all."""
    certificates: list[Certificate] = []
    roots: list[bytes] = []
    for row in json.loads((folder / "index.json").read_bytes()):
        name = Path(row["leaf"]).stem
        roots += certificates_from_pem((folder / row["root"]).read_bytes())
        chain = [
            der
            for file in (row["leaf"], *row["issuers"])
            for der in certificates_from_pem((folder / file).read_bytes())
        ]
        address = ip_address(row["ip_sans"][0]) if row["ip_sans"] else None
        named = row["dns_sans"][0].replace("*", "any") if row["dns_sans"] else None
        presented = Presented(address, named, tuple(chain))
        start, end = (datetime.fromisoformat(row[key]) for key in ("not_before", "not_after"))
        if part in name:
            certificates.append(Certificate(name, presented, start, end))
    return certificates, roots


def read_lists(folder: Path, begin: str) -> list[LogList]:
    """The log lists of every archive whose day begins with `begin`, in the order of their days."""
    lists = []
    for archive in sorted(folder.glob("*.tar.xz")):
        with tarfile.open(archive) as tar:
            for member in tar:
                name = Path(member.name).name
                if name.endswith(".json") and name.startswith(begin) and (file := tar.extractfile(member)) is not None:
                    lists.append(LogList.parse(file.read()))
    return sorted(lists, key=lambda each: each.timestamp)


def judge_all(
    verifier: Verifier,
    certificates: Sequence[Certificate],
    day: datetime,
    last: dict[str, _Outcome],
    tally: Counter[str],
) -> Iterator[Change]:
    """Judge each certificate by the list of a day; `last` holds what was found under the list before."""
    for certificate in certificates:
        moment, valid = certificate.moment(day)
        outcome = _Outcome.of(verifier.judge(certificate.presented, moment))
        before = last.get(certificate.name, outcome)
        last[certificate.name] = outcome
        tally[f"{'day' if valid else 'own time'}, {outcome.word}"] += 1
        if outcome != before:
            yield Change(certificate.name, f"{day:%Y-%m-%d}", valid, before.word, outcome.word, outcome.since(before))


def show(changes: Sequence[Change], facts: dict[str, Any]) -> None:
    """The table and the figures, for people."""
    table = Table(title="Days on which a verdict changed")
    for heading in ("certificate", "day", "judged for", "from", "to", "why"):
        table.add_column(heading, overflow="fold")
    for change in sorted(changes, key=lambda each: (each.certificate, each.day)):
        words = (
            change.certificate,
            change.day,
            "the day" if change.valid else "its own time",
            change.before,
            change.after,
        )
        style = "bold" if change.before != change.after else None
        table.add_row(*map(Text, words), Text("\n".join(change.why)), style=style)
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(table)
    flips = sum(change.before != change.after for change in changes)
    console.print(
        f"{facts['certificates']} certificates under {facts['lists']} lists ({' to '.join(facts['days'])}): "
        f"{facts['judgements']} judgements in {facts['seconds']} s, {facts['allowed']} allowed. "
        f"{facts['judged_for_the_day']} were judged for the day of the list, within their validity; the others for a "
        f"time a third into it. {facts['changes']} changes, {flips} of them of the verdict as a whole.",
        highlight=False,
    )


if __name__ == "__main__":
    sys.exit(main())
