"""Merge years of daily log lists day by day, as an update would, and tell what became of the list and of verdicts.

    python tools/merge_history.py ../shared/data                  # three settings, with a progress bar
    python tools/merge_history.py ../shared/data --json           # one JSON object for each setting
    python tools/merge_history.py ../shared/data --lists 2025-0 --settings two --lag 7

Each setting starts with the first day's list and is given the list of every further day, on that day:

    signed   the list with its signature, and its key is configured
    alone    the list without its signature, and nothing else: one source where a quorum of two is wanted
    two      the list without its signature, and the list of LAG days before as if it came from somebody else

After each day the certificates in DATA are judged by the merged list and by that day's list as it was published: by
their SCTs alone, with the counts of the shipped policy, so that what differs is due to the merge. On a day within its
validity a certificate is judged for that day, else for a time a third into its validity. DATA is a folder with
certs/index.json, loglists/*.tar.xz (lists and their .sig) and loglists/*.pem.
"""

import argparse
import json
import sys
import tarfile
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.utils import CryptographyDeprecationWarning
from replay import Certificate, read_certificates
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from stubresolver.config import load_policy
from stubresolver.ct import (
    CTPolicy,
    LogList,
    LogState,
    MalformedSctList,
    Precertificate,
    check_sct,
    count,
    embedded_list,
)
from stubresolver.errors import SourceRefused
from stubresolver.loglists import ChangeKind, SigningKey, Source, load_key, merge, origin_of, read_source
from stubresolver.verify.certificate import read_certificate

_SETTINGS = ("signed", "alone", "two")


@dataclass(frozen=True, slots=True)
class Day:
    """One published list."""

    octets: bytes
    signature: bytes | None
    log_list: LogList  # read as it was published


@dataclass(slots=True)
class Story:
    """What became of the list in one setting."""

    setting: str
    lists: int = 0
    logs: dict[str, int] = field(default_factory=dict)  # at the beginning, at the end, and after each quarter
    dated: str = ""  # the merged list's date at the end
    days_of_45: int = 0  # days on which it was so old
    days_of_70: int = 0
    changes: Counter[str] = field(default_factory=Counter)  # logs added, removed, retired ...
    withheld: int = 0  # logs a day that were not added for want of a quorum
    withheld_logs: set[str] = field(default_factory=set)
    contested: int = 0  # other changes a day that were not taken
    refused: Counter[str] = field(default_factory=Counter)  # sources, and merged lists, by reason
    judgements: int = 0
    differ: Counter[str] = field(default_factory=Counter)  # verdicts that were not those of the published list
    certificates: set[str] = field(default_factory=set)  # on which they differed

    def facts(self) -> dict[str, object]:
        """For --json."""
        facts = {each.name: getattr(self, each.name) for each in fields(self)}
        return {**facts, "withheld_logs": len(self.withheld_logs), "certificates": sorted(self.certificates)}


class Judge:
    """Judges one certificate's SCTs; an outcome is kept as long as its logs and the time are the same."""

    def __init__(self, certificate: Certificate, policy: CTPolicy) -> None:
        leaf, issuer = (read_certificate(der) for der in certificate.presented.chain[:2])
        parsed = x509.load_der_x509_certificate(leaf.der)
        try:
            self._scts = embedded_list(leaf.der) or []
        except MalformedSctList:
            self._scts = []
        tbs = parsed.tbs_precertificate_bytes if self._scts else b""
        self._precertificate = Precertificate(tbs, issuer.spki_sha256, leaf.not_before, leaf.not_after)
        self._log_ids = [octets[1:33] for octets in self._scts]  # RFC 6962 s3.2: the id follows the version
        self._policy = policy
        self._kept: dict[object, bool] = {}
        self.certificate = certificate

    def allows(self, log_list: LogList, day: datetime) -> bool:
        """True if the SCTs are enough by this list."""
        moment, _ = self.certificate.moment(day)
        key = (moment, *map(log_list.logs.get, self._log_ids))
        if key not in self._kept:
            self._kept = {key: self._judged(log_list, moment)} | dict(list(self._kept.items())[:7])
        return self._kept[key]

    def _judged(self, log_list: LogList, moment: datetime) -> bool:
        checked = [check_sct(octets, self._precertificate, log_list, self._policy, moment) for octets in self._scts]
        counts = count(checked, self._precertificate, self._policy, moment)
        return (
            len(counts.logs) >= counts.required
            and len(counts.operators) >= self._policy.minimum_operators
            and len(counts.current) >= self._policy.minimum_current
        )


def main() -> int:
    """Merge, and print; the exit status is 0 whatever became of the lists."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder with certs/ and loglists/")
    parser.add_argument("--lists", default="", metavar="TEXT", help="only those whose day begins with it: 2025-03")
    parser.add_argument("--settings", nargs="+", choices=_SETTINGS, default=_SETTINGS)
    parser.add_argument("--lag", type=int, default=30, metavar="DAYS", help="how far the second source is behind: 30")
    parser.add_argument("--quorum", type=int, default=2, metavar="N")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", category=CryptographyDeprecationWarning)  # old roots with odd serial numbers
    days = read_days(arguments.data / "loglists", arguments.lists)
    if not days:
        parser.error("no list of that name")
    keys = [load_key(path.read_bytes(), path.name) for path in sorted((arguments.data / "loglists").glob("*.pem"))]
    policy = load_policy(None).ct
    if policy is None:
        raise TypeError("the shipped policy demands no CT")
    certificates, _ = read_certificates(arguments.data / "certs", "")
    judges = [Judge(certificate, policy) for certificate in certificates]
    stories = []
    with Progress(console=Console(stderr=True)) as progress:
        for setting in arguments.settings:
            story = Story(setting)
            steps = tell(story, days, keys, judges, quorum=arguments.quorum, lag=timedelta(days=arguments.lag))
            for _ in progress.track(steps, total=len(days) - 1, description=setting):
                pass
            stories.append(story)
    if arguments.json:
        for story in stories:
            print(json.dumps(story.facts()))
    else:
        show(stories, days, len(judges))
    return 0


def read_days(folder: Path, begin: str) -> list[Day]:
    """The lists of every archive whose day begins with `begin`, with their signatures, in the order of their dates."""
    files: dict[str, bytes] = {}
    for archive in sorted(folder.glob("*.tar.xz")):
        with tarfile.open(archive) as tar:
            for member in tar:
                name = Path(member.name).name
                if name.startswith(begin) and (file := tar.extractfile(member)) is not None:
                    files[name] = file.read()
    days = [
        Day(octets, files.get(name.removesuffix(".json") + ".sig"), LogList.parse(octets))
        for name, octets in files.items()
        if name.endswith(".json")
    ]
    return sorted(days, key=lambda day: day.log_list.timestamp)


def tell(
    story: Story,
    days: Sequence[Day],
    keys: Sequence[SigningKey],
    judges: Sequence[Judge],
    *,
    quorum: int,
    lag: timedelta,
) -> Iterator[None]:
    """Give the list of each day to the list in force, one at a step."""
    current = days[0].log_list
    story.lists, story.logs["start"] = len(days), len(current.logs)
    for number, day in enumerate(days[1:], 1):
        now = day.log_list.timestamp
        given = {"today": day}
        behind = [other for other in days[:number] if now - other.log_list.timestamp >= lag]
        if story.setting == "two" and behind:
            given["behind"] = behind[-1]
        current = update(story, current, given, keys, quorum=quorum, now=now)
        age = now - current.timestamp
        story.days_of_45 += age >= timedelta(days=45)  # the ages of the policy's ct.list-age
        story.days_of_70 += age >= timedelta(days=70)
        story.logs[f"{now:%Y}q{(now.month + 2) // 3}"] = len(current.logs)
        compare(story, judges, current, day.log_list)
        yield
    story.logs["end"] = len(current.logs)
    story.dated = f"{current.timestamp:%Y-%m-%d}"


def update(
    story: Story,
    current: LogList,
    given: Mapping[str, Day],
    keys: Sequence[SigningKey],
    *,
    quorum: int,
    now: datetime,
) -> LogList:
    """The list in force after one update."""
    sources: list[Source] = []
    for name, day in given.items():
        signature, used = (day.signature, keys) if story.setting == "signed" else (None, ())
        try:
            sources.append(
                read_source(name, origin_of(name), day.octets, signature=signature, keys=used, current=current, now=now)
            )
        except SourceRefused as problem:
            story.refused[f"source: {str(problem).partition(':')[0]}"] += 1
    try:
        merged = merge(current, sources, quorum=quorum, now=now)
    except SourceRefused as problem:
        story.refused[str(problem)[:60]] += 1
        return current
    for change in merged.changes:
        kind = change.kind.value
        retired = change.kind is ChangeKind.STATE and change.after.startswith(LogState.RETIRED)
        story.changes["retired" if retired else kind] += 1
    wanted = [item for item in merged.withheld if item.wanted == "to be added"]
    story.withheld += len(wanted)
    story.withheld_logs |= {item.log for item in wanted}
    story.contested += len(merged.withheld) - len(wanted)
    return merged.log_list


def compare(story: Story, judges: Sequence[Judge], merged: LogList, published: LogList) -> None:
    """Judge every certificate by both lists."""
    for judge in judges:
        ours, theirs = (judge.allows(log_list, published.timestamp) for log_list in (merged, published))
        story.judgements += 1
        if ours != theirs:
            story.differ["refused instead of allowed" if theirs else "allowed instead of refused"] += 1
            story.certificates.add(judge.certificate.name)


def show(stories: Sequence[Story], days: Sequence[Day], certificates: int) -> None:
    """The table and the figures, for people."""
    first, last = (f"{day.log_list.timestamp:%Y-%m-%d}" for day in (days[0], days[-1]))
    table = Table(title=f"{len(days)} daily lists, {first} to {last}, {certificates} certificates")
    table.add_column("")
    for story in stories:
        table.add_column(story.setting, justify="right")
    rows: dict[str, list[object]] = {
        "logs at the start": [story.logs["start"] for story in stories],
        "logs at the end": [story.logs["end"] for story in stories],
        "the list's date at the end": [story.dated for story in stories],
        "days of a list of 45 days or older": [story.days_of_45 for story in stories],
        "days of a list of 70 days or older": [story.days_of_70 for story in stories],
    }
    for kind in dict.fromkeys(kind for story in stories for kind in story.changes):
        rows[f"changes: {kind}"] = [story.changes[kind] for story in stories]
    rows |= {
        "logs not added for want of a quorum": [len(story.withheld_logs) for story in stories],
        "the same, counted every day": [story.withheld for story in stories],
        "other changes not taken, counted every day": [story.contested for story in stories],
    }
    for reason in dict.fromkeys(reason for story in stories for reason in story.refused):
        rows[f"refused: {reason}"] = [story.refused[reason] for story in stories]
    rows["verdicts"] = [story.judgements for story in stories]
    for way in dict.fromkeys(way for story in stories for way in story.differ):
        rows[f"verdicts: {way}"] = [story.differ[way] for story in stories]
    rows["certificates with another verdict"] = [len(story.certificates) for story in stories]
    for name, values in rows.items():
        table.add_row(name, *map(str, values))
    quarters = Table(title="Logs in the list at the end of each quarter")
    quarters.add_column("")
    for story in stories:
        quarters.add_column(story.setting, justify="right")
    for quarter in dict.fromkeys(key for story in stories for key in story.logs if "q" in key):
        quarters.add_row(quarter, *(str(story.logs[quarter]) for story in stories))
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(table)
    console.print(quarters)


if __name__ == "__main__":
    sys.exit(main())
