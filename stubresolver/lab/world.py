"""The embedded world: who issues, who logs, who is trusted, at one time. Made anew each time; nothing is kept.

    Lab CA        trusted and allowed: the upstreams' honest issuer
    Finish CA     trusted by the store, not on the allow-list: the part that Fina played in 2024-2025
    Leaky CA      trusted and allowed, but its intermediate's key was stolen and stands on the deny-list
    Stranger CA   in nobody's store

    Alder 1, Alder 2, Birch 1 (static-ct), Cedar 1 (retired)    the log list
    Mimic 1, Mimic 2                                            denied: their private keys are public
    Driftwood 1                                                 on no list

No clock in here: `now` is an argument.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address

from cryptography.hazmat.primitives.serialization import Encoding

from stubresolver.ct import CTPolicy, LogList
from stubresolver.lab.authority import Credential, LabAuthority, Stamper
from stubresolver.lab.logs import LabLog, log_list_json
from stubresolver.lab.zone import LabZone
from stubresolver.verify.issuers import Denied, IssuerPolicy
from stubresolver.verify.policy import Policy

NAME = "dns.lab"  # the authentication name of the lab's upstreams
ADDRESSES = (IPv4Address("127.0.0.1"), IPv6Address("::1"))


class World:
    """Authorities, logs, zone, and the policy and log list that an honest resolver of this world has."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.lab = LabAuthority("Lab CA", now=now)
        self.finish = LabAuthority("Finish CA", now=now)
        self.leaky = LabAuthority("Leaky CA", now=now)
        self.stranger = LabAuthority("Stranger CA", now=now)
        # Shards as real logs have them: they take certificates that end within an interval, here within 120 days.
        interval = (now - timedelta(days=240), now + timedelta(days=120))
        founded = now - timedelta(days=365)
        self.alder1 = LabLog("Alder", "Alder 1", since=founded, interval=interval)
        self.alder2 = LabLog("Alder", "Alder 2", since=founded, interval=interval)
        self.birch1 = LabLog("Birch", "Birch 1", "static-ct", since=founded, interval=interval)
        self.cedar1 = LabLog("Cedar", "Cedar 1", state="retired", since=now - timedelta(days=30), interval=interval)
        self.mimics = (LabLog("Mimic", "Mimic 1"), LabLog("Mimic", "Mimic 2"))
        self.driftwood = LabLog("Driftwood", "Driftwood 1")
        self.zone = LabZone()
        self.log_host = ""  # where the logs are read, once somebody serves them (lab/archive.py)

    def issue(
        self,
        logs: Sequence[LabLog] | Stamper | None = None,
        *,
        authority: LabAuthority | None = None,
        names: Sequence[str] = (NAME,),
        addresses: Sequence[IPv4Address | IPv6Address] = ADDRESSES,
        stamped: timedelta = timedelta(days=-1),
        starts: timedelta = timedelta(days=-1),
        ends: timedelta = timedelta(days=89),
        common_name: str | None = None,
    ) -> Credential:
        """A credential, by default the honest one; times count from now, and `logs` sign at `stamped`."""
        stamping = (self.alder1, self.birch1) if logs is None else logs
        return (authority or self.lab).issue(
            not_before=self.now + starts,
            not_after=self.now + ends,
            names=names,
            addresses=addresses,
            logs=stamping if callable(stamping) else [(log, self.now + stamped) for log in stamping],
            common_name=common_name,
        )

    @property
    def logs(self) -> tuple[LabLog, ...]:
        """The logs of the log list."""
        return (self.alder1, self.alder2, self.birch1, self.cedar1)

    @property
    def log_list_json(self) -> bytes:
        """The log list as a file, dated now."""
        return log_list_json(self.logs, now=self.now, host=self.log_host)

    @property
    def log_list(self) -> LogList:
        """The same, read; the mimics are denied."""
        denied = {log.log_id: f"{log.description}: its private key is published" for log in self.mimics}
        return LogList.parse(self.log_list_json, denied)

    @property
    def trusted(self) -> tuple[LabAuthority, ...]:
        """The authorities whose roots the policy anchors paths in."""
        return (self.lab, self.finish, self.leaky)

    @property
    def anchors_pem(self) -> bytes:
        """The roots of the policy as a file."""
        return b"".join(authority.root.public_bytes(Encoding.PEM) for authority in self.trusted)

    @property
    def policy(self) -> Policy:
        """The demands of the shipped policy, with this world's authorities in the place of the real ones."""
        allowed = {bytes.fromhex(each.root_spki_sha256): f"{each.name} Root" for each in (self.lab, self.leaky)}
        stolen = Denied(
            "Leaky CA TLS: its private key was stolen",
            spki_sha256=bytes.fromhex(self.leaky.intermediate_spki_sha256),
        )
        return Policy(
            anchors=tuple(authority.anchor for authority in self.trusted),
            issuers=IssuerPolicy(allowed, (stolen,)),
            ct=CTPolicy(),
        )
