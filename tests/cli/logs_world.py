"""Log lists of the lab, as a person who runs `logs` meets them: one in force, and what sources say days later."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from stubresolver.lab.logs import LabLog, log_list_json

NOW = datetime.now(UTC).replace(microsecond=0)  # the commands read the real clock, and any moment will do
IN_FORCE, LATER = NOW - timedelta(days=20), NOW - timedelta(days=2)
YEAR = (NOW - timedelta(days=180), NOW + timedelta(days=180))
OPERATORS = ("Alder", "Birch", "Cedar")
LOGS = tuple(
    LabLog(operator, f"{operator} {number}", since=NOW - timedelta(days=400), interval=YEAR)
    for operator in OPERATORS
    for number in range(1, 5)
)
NEW_LOG = LabLog("Alder", "Alder 5", since=LATER, interval=YEAR)
FORGED = tuple(LabLog(operator, f"{operator} 9", since=LATER, interval=YEAR) for operator in ("Alder", "Birch"))


def written(*logs: LabLog, at: datetime = LATER, version: str = "later") -> bytes:
    return log_list_json(logs, now=at, version=version)


def retired(log: LabLog) -> LabLog:
    return replace(log, state="retired", since=LATER)


@dataclass(frozen=True)
class Lists:
    """A folder with a configuration, the list in force, and room for sources."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "c.toml"

    @property
    def list(self) -> Path:
        return self.folder / "log_list.json"

    @property
    def previous(self) -> Path:
        return self.folder / "log_list.json.previous"

    def source(self, name: str, octets: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(octets)
        return path

    def pair(self, *logs: LabLog) -> tuple[Path, Path]:
        """Two sources that say the same of these logs, and are two: they were not made at the same time."""
        return (
            self.source("one.json", written(*logs)),
            self.source("two.json", written(*logs, at=LATER - timedelta(hours=1))),
        )

    def state(self) -> dict[str, tuple[bytes, int]]:
        """Octets and time of change of the list and the one before."""
        return {
            path.name: (path.read_bytes(), path.stat().st_mtime_ns)
            for path in (self.list, self.previous)
            if path.exists()
        }


def make_lists(folder: Path) -> Lists:
    """The list in force, dated twenty days ago."""
    folder.mkdir()
    lists = Lists(folder)
    lists.list.write_bytes(written(*LOGS, at=IN_FORCE, version="in force"))
    lists.previous.write_bytes(written(*LOGS[:-1], at=IN_FORCE - timedelta(days=10), version="before"))
    lists.config.write_text('upstreams = ["tls://127.0.0.1:9#dns.lab"]\n[trust]\nlog_list = "log_list.json"\n')
    return lists


class Signer:
    """An organisation that signs its lists with ed25519."""

    def __init__(self) -> None:
        self._key = ed25519.Ed25519PrivateKey.generate()

    @property
    def public_pem(self) -> bytes:
        return self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, octets: bytes) -> bytes:
        return self._key.sign(octets)
