"""The gallery: upstreams that should not be trusted, what each did, and the rules that must refuse it. Data.

Each is dialled as tls://127.0.0.1:PORT#dns.lab under the policy of its world; `expected` is exactly the set of rules
that fail then. Whatever the story does not tell is honest in it, so that one fault shows as itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Address

from stubresolver.lab.authority import Credential, Stamper, octet_string
from stubresolver.lab.logs import LabLog, milliseconds, sct_list
from stubresolver.lab.servers import DotServer
from stubresolver.lab.world import ADDRESSES, NAME, World
from stubresolver.verify.verdict import Rule

_COUNTS = frozenset({Rule.CT_SCTS, Rule.CT_OPERATORS})  # one valid SCT is left
_NO_CT = _COUNTS | {Rule.CT_CURRENT}  # none is left
_NO_LIST = _NO_CT | {Rule.CT_SCT_LIST}
_NO_PATH = frozenset({Rule.PATH_VALID, Rule.PATH_SECOND_LOCK})


@dataclass(frozen=True, slots=True)
class Rogue:
    """One upstream of the gallery."""

    code: str  # stable, for tests and --json
    title: str
    story: str  # one sentence: what the rogue did
    expected: frozenset[Rule]  # exactly the rules that fail
    make: Callable[[World], Credential]

    def server(self, world: World) -> DotServer:
        """A DoT server that would answer every query, if it were ever asked."""
        return DotServer(self.make(world), world.zone.answer)


def _forged(world: World) -> Credential:
    """The second SCT names Birch 1; the rogue's own key signed it."""
    forger = LabLog("Nobody", "Nobody 1")
    return world.issue(_stamper(world, [(world.alder1, None), (world.birch1, forger)]))


def _of_another_issuer(world: World) -> Credential:
    """The SCTs are the logs' own, but over the key of another CA."""
    honest = _stamper(world, [(world.alder1, None), (world.birch1, None)])
    other = bytes.fromhex(world.stranger.intermediate_spki_sha256)
    return world.issue(lambda _issuer_key_hash, tbs: honest(other, tbs))


def _flooded(world: World) -> Credential:
    """Five thousand entries of eleven octets behind two good SCTs."""
    logs = [(world.alder1, None), (world.birch1, None)]
    return world.issue(_stamper(world, logs, junk=[bytes(11)] * 5000))


def _unknown_version(world: World) -> Credential:
    """The second SCT is of a version that does not exist; RFC 6962 s3.3 has it skipped."""

    def stamp(issuer_key_hash: bytes, tbs: bytes) -> bytes:
        moment = milliseconds(world.now - timedelta(days=1))
        first = world.alder1.sign(issuer_key_hash, tbs, moment)
        return octet_string(sct_list([first, world.birch1.sign(issuer_key_hash, tbs, moment, version=7)]))

    return world.issue(stamp)


def _stamper(world: World, logs: Sequence[tuple[LabLog, LabLog | None]], junk: Sequence[bytes] = ()) -> Stamper:
    """Stamps for each (log that is named, log whose key signs; None: its own), then `junk`."""

    def stamp(issuer_key_hash: bytes, tbs: bytes) -> bytes:
        moment = milliseconds(world.now - timedelta(days=1))
        scts = [log.sign(issuer_key_hash, tbs, moment, signer=by.key if by else None) for log, by in logs]
        return octet_string(sct_list([*scts, *junk]))

    return stamp


GALLERY: tuple[Rogue, ...] = (
    Rogue(
        "fina",
        "The Fina case",
        "A CA that the store trusts issued for our upstream without permission, and logged it like any other.",
        frozenset({Rule.ISSUER_ALLOWED}),
        lambda world: world.issue(authority=world.finish),
    ),
    Rogue(
        "denied-issuer",
        "Stolen intermediate",
        "Issued with the stolen key of a CA that we do allow; the deny-list names that key.",
        frozenset({Rule.ISSUER_DENIED}),
        lambda world: world.issue(authority=world.leaky),
    ),
    Rogue(
        "no-scts",
        "No SCTs",
        "The certificate was kept out of every log, so that nobody would see it.",
        _NO_LIST,
        lambda world: world.issue(()),
    ),
    Rogue(
        "one-sct",
        "One SCT",
        "Only one log has seen the certificate.",
        _COUNTS,
        lambda world: world.issue([world.alder1]),
    ),
    Rogue(
        "same-log",
        "One log, twice",
        "The same log signed two SCTs, to look like two.",
        _COUNTS,
        lambda world: world.issue([world.alder1, world.alder1]),
    ),
    Rogue(
        "one-operator",
        "One operator",
        "Two logs signed, but the same operator runs both and could hide it in both.",
        frozenset({Rule.CT_OPERATORS}),
        lambda world: world.issue([world.alder1, world.alder2]),
    ),
    Rogue(
        "long-lived",
        "Too few for its lifetime",
        "A certificate of 200 days brought two SCTs, where more than 180 days need three.",
        frozenset({Rule.CT_SCTS}),
        lambda world: world.issue(starts=timedelta(days=-120), ends=timedelta(days=80)),
    ),
    Rogue(
        "forged-sct",
        "Forged SCT",
        "The second SCT names a good log, but the rogue signed it with a key of its own.",
        _COUNTS,
        _forged,
    ),
    Rogue(
        "other-issuer",
        "SCTs of another issuer",
        "Both SCTs are genuine, but vouch for a certificate from another CA.",
        _NO_CT,
        _of_another_issuer,
    ),
    Rogue(
        "unknown-log",
        "Unknown log",
        "The second SCT comes from a log that the rogue set up; no list knows it.",
        _COUNTS,
        lambda world: world.issue([world.alder1, world.driftwood]),
    ),
    Rogue(
        "mimic-log",
        "Mimic logs",
        "Both SCTs are signed with the private keys of mimic logs, which anyone can download.",
        _NO_CT,
        lambda world: world.issue(world.mimics),
    ),
    Rogue(
        "retired-log",
        "Retired log",
        "The second SCT was signed by a log after its retirement, when nobody watches it any more.",
        _COUNTS,
        lambda world: world.issue([world.alder1, world.cedar1]),
    ),
    Rogue(
        "outside-interval",
        "Outside the interval",
        "The certificate ends after the interval that its logs take certificates for.",
        _NO_CT,
        lambda world: world.issue(ends=timedelta(days=150)),
    ),
    Rogue(
        "future-sct",
        "SCTs from the future",
        "Both SCTs are dated tomorrow: the logs have promised nothing yet.",
        _NO_CT,
        lambda world: world.issue(stamped=timedelta(days=1)),
    ),
    Rogue(
        "unknown-version",
        "SCT of an unknown version",
        "The second SCT is of a version that nobody has defined.",
        _COUNTS,
        _unknown_version,
    ),
    Rogue(
        "malformed-list",
        "Malformed SCT list",
        "Where the SCTs should be there is a list whose length is a lie.",
        _NO_LIST,
        lambda world: world.issue(lambda _issuer_key_hash, _tbs: octet_string(b"\xff\xff" + bytes(40))),
    ),
    Rogue(
        "sct-flood",
        "Five thousand SCTs",
        "Two good SCTs stand in front of five thousand pieces of junk, to keep the resolver busy.",
        _NO_LIST,
        _flooded,
    ),
    Rogue(
        "wrong-address",
        "Wrong address",
        "A genuine certificate of the upstream, for another address than the one that was dialled.",
        frozenset({Rule.PATH_ADDRESS}),
        lambda world: world.issue(addresses=[IPv4Address("127.0.0.2")]),
    ),
    Rogue(
        "name-only",
        "Address spelled as a name",
        "The address stands in the common name and as a DNS name, but not as an address.",
        frozenset({Rule.PATH_ADDRESS}),
        lambda world: world.issue(names=[NAME, *map(str, ADDRESSES[:1])], addresses=(), common_name=str(ADDRESSES[0])),
    ),
    Rogue(
        "wrong-name",
        "Wrong name",
        "A certificate for the right address, made out to somebody else.",
        frozenset({Rule.PATH_NAME}),
        lambda world: world.issue(names=["elsewhere.lab"]),
    ),
    Rogue(
        "expired",
        "Expired",
        "The honest certificate of last month, which ended yesterday.",
        _NO_PATH,
        lambda world: world.issue(starts=timedelta(days=-91), ends=timedelta(days=-1), stamped=timedelta(days=-91)),
    ),
    Rogue(
        "unknown-root",
        "Unknown root",
        "A CA that nobody trusts issued the certificate.",
        _NO_PATH,
        lambda world: world.issue(authority=world.stranger),
    ),
)
