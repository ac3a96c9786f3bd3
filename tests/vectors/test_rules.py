"""One table of vectors: how each certificate is made, under which demands it is judged, and what must be found.

`fails` is the exact set of rules that fail, `scts` the exact statuses; a rule or status that does not exist stops the
run. Every rule has a vector that it passes and one that it fails; whoever adds a rule adds its vectors here.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from ipaddress import IPv4Address, ip_address

import pytest
from cryptography import x509
from cryptography.x509.ocsp import OCSPCertStatus

from stubresolver.ct import CTPolicy, LogList, SctStatus
from stubresolver.lab.authority import Credential, octet_string
from stubresolver.lab.logs import LabLog, log_list_json, milliseconds, sct_list
from stubresolver.lab.world import World
from stubresolver.verify import (
    ClockFloor,
    Outcome,
    PinPolicy,
    Policy,
    Presented,
    Remembered,
    Revocation,
    Rule,
    TlsFacts,
    Verdict,
    Verifier,
    WhenStale,
    Whose,
)
from tests.verify.responder import GOOD as GOOD_STATUS
from tests.verify.responder import REVOKED, UNKNOWN, must_staple, staple

DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
TLS = TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384", "X25519MLKEM768", "dot", openssl_error=None)
V = SctStatus
NO_CT = {"ct.scts", "ct.operators", "ct.current"}


@dataclass(frozen=True)
class Vector:
    """One certificate and its judgement; whatever is not said is honest."""

    name: str
    mint: Callable[[World], Credential]
    fails: set[str]
    scts: list[SctStatus] | None = None
    policy: Callable[[Policy], Policy] = lambda policy: policy
    listed: Callable[[World], list[LabLog]] = lambda world: list(world.logs)
    address: str = "127.0.0.1"
    authentication_name: str = "dns.lab"
    tls: TlsFacts = TLS
    later: timedelta = timedelta(0)  # judged so long after the world's now
    list_age: timedelta = timedelta(0)  # of the log list, at that time
    passed: timedelta | None = None  # the leaf is known, and has passed so long after the list's own date
    behind: timedelta | None = None  # the clock is so far behind what has happened
    staple: Callable[[World, x509.Certificate], bytes] | None = None
    pins: Callable[[World], PinPolicy] | None = None

    def judge(self, world: World) -> Verdict:
        denied = {log.log_id: "its private key is published" for log in world.mimics}
        now = world.now + self.later
        listed = now - self.list_age
        log_list = LogList.parse(log_list_json(self.listed(world), now=listed), denied)
        credential = self.mint(world)
        stapled = self.staple(world, credential.leaf) if self.staple else None
        shown = Presented(
            ip_address(self.address), self.authentication_name, credential.chain, self.tls, stapled
        )  # fmt: skip
        policy = replace(self.policy(world.policy), pins=self.pins(world) if self.pins else None)
        remembered = Remembered(
            None if self.behind is None else ClockFloor(now + self.behind, Whose.EVIDENCE),
            None if self.passed is None else listed + self.passed,
        )
        return Verifier(policy, log_list).judge(shown, now, remembered)


def lives(lifetime: timedelta, *logs: str) -> Callable[[World], Credential]:
    """A certificate of this lifetime with SCTs of these logs of the world."""
    half = timedelta(days=90)
    return lambda world: world.issue([getattr(world, log) for log in logs], starts=-half, ends=lifetime - half)


def signed(*scts: tuple[str, timedelta]) -> Callable[[World], Credential]:
    """A certificate with an SCT of each log at each time, counted from now."""

    def mint(world: World) -> Credential:
        def stamp(issuer_key_hash: bytes, tbs: bytes) -> bytes:
            made = [
                getattr(world, log).sign(issuer_key_hash, tbs, milliseconds(world.now + when)) for log, when in scts
            ]
            return octet_string(sct_list(made))

        return world.issue(stamp, starts=-60 * DAY)

    return mint


def wrong_issuer(world: World) -> Credential:
    """Genuine SCTs over the key hash of the root, where the intermediate issued."""

    def stamp(_issuer_key_hash: bytes, tbs: bytes) -> bytes:
        other = bytes.fromhex(world.lab.root_spki_sha256)
        moment = milliseconds(world.now - DAY)
        return octet_string(sct_list([log.sign(other, tbs, moment) for log in (world.alder1, world.birch1)]))

    return world.issue(stamp)


def stripped(world: World) -> Credential:
    """The static-ct log's SCT without the leaf index that it signed."""

    def stamp(issuer_key_hash: bytes, tbs: bytes) -> bytes:
        moment = milliseconds(world.now - DAY)
        whole = world.birch1.sign(issuer_key_hash, tbs, moment)
        bare = whole[:41] + b"\0\0" + whole[51:]
        return octet_string(sct_list([world.alder1.sign(issuer_key_hash, tbs, moment), bare]))

    return world.issue(stamp)


def version(number: int) -> Callable[[World], Credential]:
    """Two good SCTs and one of another version."""

    def mint(world: World) -> Credential:
        def stamp(issuer_key_hash: bytes, tbs: bytes) -> bytes:
            moment = milliseconds(world.now - DAY)
            good = [log.sign(issuer_key_hash, tbs, moment) for log in (world.alder1, world.birch1)]
            odd = world.alder2.sign(issuer_key_hash, tbs, moment, version=number)
            return octet_string(sct_list([good[0], odd, good[1]]))

        return world.issue(stamp)

    return mint


def sold(world: World) -> list[LabLog]:
    """Alder bought its second log from Elm ten days ago."""
    return [world.alder1, replace(world.alder2, previous_operators=(("Elm", world.now - 10 * DAY),))]


def retires_tomorrow(world: World) -> list[LabLog]:
    """Birch's log has announced its retirement."""
    return [world.alder1, replace(world.birch1, state="retired", since=world.now + DAY)]


def honest(world: World) -> Credential:
    return world.issue()


def says(status: OCSPCertStatus, **how: timedelta) -> Callable[[World, x509.Certificate], bytes]:
    """A staple of the issuer with this status."""
    return lambda world, leaf: staple(world, leaf, status, **how)


def pinned(*authorities: str, report_only: bool = False) -> Callable[[World], PinPolicy]:
    """The roots of these authorities of the world are pinned."""
    return lambda world: PinPolicy(
        {bytes.fromhex(getattr(world, each).root_spki_sha256): each for each in authorities}, report_only
    )


def checked(check: str) -> Callable[[Policy], Policy]:
    return lambda policy: replace(policy, revocation=Revocation(check))


def when_stale(word: str) -> Callable[[Policy], Policy]:
    return lambda policy: replace(policy, ct=CTPolicy(when_stale=WhenStale(word)))


def quantum(policy: Policy) -> Policy:
    return replace(policy, require_post_quantum=True)


GOOD, THREE = [V.VALID] * 2, [V.VALID] * 3
VECTORS = [
    Vector("honest", honest, set(), GOOD),
    Vector("IPv6", honest, set(), GOOD, address="::1"),
    Vector("IPv4 in IPv6", honest, set(), GOOD, address="::ffff:127.0.0.1"),
    # path
    Vector("at the last second", honest, set(), later=89 * DAY),
    Vector("one second late", honest, {"path.valid"}, GOOD, later=89 * DAY + SECOND),
    Vector("not yet valid", honest, {"path.valid"}, GOOD, later=-DAY - SECOND),
    Vector("unknown root", lambda world: world.issue(authority=world.stranger), {"path.valid"}, GOOD),
    Vector("OpenSSL objects", honest, {"path.second-lock"}, tls=replace(TLS, openssl_error="unable to get issuer")),
    Vector("wrong address", lambda w: w.issue(addresses=[IPv4Address("127.0.0.2")]), {"path.address"}, GOOD),
    Vector("address as a name", lambda w: w.issue(names=["dns.lab", "127.0.0.1"], addresses=()), {"path.address"}),
    Vector("wrong name", honest, {"path.name"}, authentication_name="other.lab"),
    Vector("name of any case", honest, set(), authentication_name="DNS.LAB"),
    # issuer and TLS
    Vector("the Fina case", lambda world: world.issue(authority=world.finish), {"issuer.allowed"}, GOOD),
    Vector("denied key", lambda world: world.issue(authority=world.leaky), {"issuer.denied"}, GOOD),
    Vector("TLS 1.2", honest, {"tls.version"}, tls=replace(TLS, version="TLSv1.2")),
    Vector(
        "TLS 1.2 where it may be",
        honest,
        set(),
        tls=replace(TLS, version="TLSv1.2"),
        policy=lambda policy: replace(policy, minimum_tls="TLSv1.2"),
    ),
    Vector("hybrid key exchange", honest, set(), policy=quantum),
    Vector("hybrid with P-256", honest, set(), policy=quantum, tls=replace(TLS, group="SecP256r1MLKEM768")),
    Vector("hybrid with P-384", honest, set(), policy=quantum, tls=replace(TLS, group="SecP384r1MLKEM1024")),
    Vector("classical key exchange", honest, {"tls.group"}, policy=quantum, tls=replace(TLS, group="X25519")),
    Vector("ML-KEM alone", honest, {"tls.group"}, policy=quantum, tls=replace(TLS, group="MLKEM768")),
    Vector("unknown key exchange", honest, {"tls.group"}, policy=quantum, tls=replace(TLS, group=None)),
    Vector("classical where it may be", honest, set(), tls=replace(TLS, group="X25519")),
    # pins
    Vector("pinned root", honest, set(), pins=pinned("lab", "finish")),
    Vector("pinned backup", honest, set(), pins=pinned("finish", "lab")),
    Vector("pinned elsewhere", honest, {"issuer.pins"}, pins=pinned("leaky", "finish")),
    Vector("pinned elsewhere, report only", honest, set(), pins=pinned("leaky", "finish", report_only=True)),
    Vector(
        "pinned but not allowed",
        lambda world: world.issue(authority=world.finish),
        {"issuer.allowed"},
        pins=pinned("lab", "finish"),
    ),
    # revocation
    Vector("good staple", honest, set(), staple=says(GOOD_STATUS)),
    Vector("revoked", honest, {"revocation.staple"}, staple=says(REVOKED)),
    Vector("unknown to its issuer", honest, {"revocation.staple"}, staple=says(UNKNOWN)),
    Vector("staple expired", honest, set(), staple=says(GOOD_STATUS, following=-DAY, this=-2 * DAY)),
    Vector("staple is junk", honest, set(), staple=lambda *_: b"junk"),
    Vector("must-staple, stapled", must_staple, set(), staple=says(GOOD_STATUS)),
    Vector("must-staple, not stapled", must_staple, {"revocation.staple"}),
    Vector("must-staple, expired", must_staple, {"revocation.staple"},
           staple=says(GOOD_STATUS, following=-DAY, this=-2 * DAY)),
    Vector("must-staple where staples are off", must_staple, set(), policy=checked("off")),
    Vector("staple demanded", honest, set(), staple=says(GOOD_STATUS), policy=checked("require-staple")),
    Vector("staple demanded, none", honest, {"revocation.staple"}, policy=checked("require-staple")),
    Vector("staple demanded, expired", honest, {"revocation.staple"}, policy=checked("require-staple"),
           staple=says(GOOD_STATUS, following=-DAY, this=-2 * DAY)),
    Vector("revoked where staples are off", honest, set(), staple=says(REVOKED), policy=checked("off")),
    # lifetime
    Vector("180 days, two", lives(180 * DAY, "alder1", "birch1"), set(), GOOD),
    Vector("180 days and a second, two", lives(180 * DAY + SECOND, "alder1", "birch1"), {"ct.scts"}, GOOD),
    Vector("180 days and a second, three", lives(180 * DAY + SECOND, "alder1", "birch1", "alder2"), set(), THREE),
    Vector("200 days, two", lives(200 * DAY, "alder1", "birch1"), {"ct.scts"}, GOOD),
    Vector("200 days, three", lives(200 * DAY, "alder1", "birch1", "alder2"), set(), THREE),
    # counts
    Vector("no SCTs", lambda world: world.issue(()), {"ct.sct-list", *NO_CT}, []),
    Vector("one SCT", lives(90 * DAY, "birch1"), {"ct.scts", "ct.operators"}, [V.VALID]),
    Vector("one operator", lives(90 * DAY, "alder1", "alder2"), {"ct.operators"}, GOOD),
    Vector("one log, twice", lives(90 * DAY, "alder1", "alder1"), {"ct.scts", "ct.operators"}, GOOD),
    Vector("one operator, one sold since", signed(("alder1", -DAY), ("alder2", -11 * DAY)), set(), GOOD, listed=sold),
    Vector(
        "one operator, bought before", signed(("alder1", -DAY), ("alder2", -9 * DAY)), {"ct.operators"}, listed=sold
    ),
    Vector("unknown log", lives(90 * DAY, "alder1", "driftwood"), {"ct.scts", "ct.operators"},
           [V.VALID, V.UNKNOWN_LOG]),
    Vector("mimics", lambda world: world.issue(world.mimics), NO_CT, [V.DENIED_LOG] * 2),
    Vector(
        "a mimic that the list names as retired",
        lambda world: world.issue([world.mimics[0], world.birch1]),
        {"ct.scts", "ct.operators"},
        [V.DENIED_LOG, V.VALID],
        listed=lambda world: [replace(world.mimics[0], state="retired", since=world.now), *world.logs],
    ),
    Vector("wrong issuer key hash", wrong_issuer, NO_CT, [V.INVALID_SIGNATURE] * 2),
    Vector("leaf index stripped", stripped, {"ct.scts", "ct.operators"}, [V.VALID, V.INVALID_SIGNATURE]),
    Vector("unknown version beside two", version(9), set(), [V.VALID, V.UNSUPPORTED_VERSION, V.VALID]),
    Vector("pending log", lives(90 * DAY, "alder1", "birch1"), {"ct.scts", "ct.operators"},
           [V.VALID, V.LOG_NOT_ACCEPTED], listed=lambda w: [w.alder1, replace(w.birch1, state="pending")]),
    Vector("outside the interval", lambda world: world.issue(ends=130 * DAY), {*NO_CT}, [V.OUTSIDE_INTERVAL] * 2),
    # retirement; Cedar 1 was retired 30 days ago
    Vector("retired after both", signed(("alder1", -40 * DAY), ("cedar1", -40 * DAY)), set(), GOOD),
    Vector("retired before the SCT", signed(("alder1", -40 * DAY), ("cedar1", -30 * DAY)),
           {"ct.scts", "ct.operators"}, [V.VALID, V.AFTER_RETIREMENT]),
    Vector("retired, backdated beside a new one", signed(("alder1", -DAY), ("cedar1", -40 * DAY)),
           {"ct.scts", "ct.operators"}, GOOD),
    Vector("the earliest SCT decides", signed(("alder1", -DAY), ("cedar1", -40 * DAY), ("alder2", -31 * DAY)),
           set(), THREE),
    Vector("only retired", signed(("cedar1", -40 * DAY)), NO_CT, [V.VALID]),
    Vector("retirement announced", lives(90 * DAY, "alder1", "birch1"), set(), GOOD, listed=retires_tomorrow),
    Vector("retirement come", signed(("alder1", DAY), ("birch1", DAY)), {"ct.scts", "ct.operators"},
           [V.VALID, V.AFTER_RETIREMENT], listed=retires_tomorrow, later=2 * DAY),
    Vector("too few current", signed(("alder1", -40 * DAY), ("cedar1", -40 * DAY)), {"ct.current"}, GOOD,
           policy=lambda policy: replace(policy, ct=CTPolicy(minimum_current=2))),
    # clock
    Vector("299 s ahead", signed(("alder1", 299 * SECOND), ("birch1", 299 * SECOND)), set(), GOOD),
    Vector("300 s ahead", signed(("alder1", 300 * SECOND), ("birch1", 300 * SECOND)), set(), GOOD),
    Vector("301 s ahead", signed(("alder1", 301 * SECOND), ("birch1", 299 * SECOND)),
           {"ct.scts", "ct.operators"}, [V.IN_FUTURE, V.VALID]),
    Vector("clock a day behind", honest, set(), GOOD, behind=DAY),
    Vector("clock a day and a second behind", honest, {"clock.floor"}, [], behind=DAY + SECOND),
    Vector("clock years behind, certificate not yet valid", honest, {"clock.floor"}, [],
           behind=2000 * DAY, later=-2000 * DAY),
    Vector("clock behind, everything else wrong too", lambda world: world.issue((), authority=world.finish),
           {"clock.floor"}, [], behind=2 * DAY, address="192.0.2.1", tls=replace(TLS, version="TLSv1.2")),
    Vector("clock ahead of the floor", honest, set(), GOOD, behind=-DAY),
    # age of the log list
    Vector("list younger than the judgement", honest, set(), GOOD, list_age=-DAY),
    Vector("list of almost 45 days", honest, set(), GOOD, list_age=45 * DAY - SECOND),
    Vector("list of 45 days", honest, set(), GOOD, list_age=45 * DAY),
    Vector("list of almost 70 days", honest, set(), GOOD, list_age=70 * DAY - SECOND),
    Vector("list of 70 days", honest, {"ct.list-age"}, GOOD, list_age=70 * DAY),
    Vector("list of 70 days, known leaf", honest, set(), GOOD, list_age=70 * DAY, passed=69 * DAY),
    Vector("list of years, known leaf", honest, set(), GOOD, list_age=2000 * DAY, passed=DAY),
    Vector("list of 80 days, leaf known to an older one", honest, set(), GOOD, list_age=80 * DAY, passed=-9 * DAY),
    Vector("list of 80 days, leaf that passed at its last fresh second", honest, set(), GOOD,
           list_age=80 * DAY, passed=70 * DAY - SECOND),
    Vector("list of 80 days, leaf that passed when this list was stale", honest, {"ct.list-age"}, GOOD,
           list_age=80 * DAY, passed=70 * DAY),
    Vector("known leaf, refused by the policy", honest, {"ct.list-age"}, GOOD, list_age=70 * DAY, passed=DAY,
           policy=when_stale("refuse")),
    Vector("unknown leaf, fresh enough for the strictest", honest, set(), GOOD, list_age=70 * DAY - SECOND,
           policy=when_stale("refuse")),
    Vector("unknown leaf, only reported", honest, set(), GOOD, list_age=70 * DAY, policy=when_stale("report")),
    # only the age is softened
    Vector("known leaf, expired", honest, {"path.valid"}, GOOD, list_age=70 * DAY, passed=DAY, later=89 * DAY + SECOND),
    Vector("known leaf, wrong address", honest, {"path.address"}, list_age=70 * DAY, passed=DAY, address="192.0.2.1"),
    Vector("known leaf, issuer denied since", lambda world: world.issue(authority=world.leaky), {"issuer.denied"},
           list_age=70 * DAY, passed=DAY),
    Vector("known leaf, log rejected since", honest, {"ct.scts", "ct.operators"}, [V.VALID, V.LOG_NOT_ACCEPTED],
           list_age=70 * DAY, passed=DAY, listed=lambda w: [w.alder1, replace(w.birch1, state="rejected")]),
    Vector("known leaf, log retired before it signed", honest, {"ct.scts", "ct.operators"},
           [V.VALID, V.AFTER_RETIREMENT], list_age=70 * DAY, passed=DAY,
           listed=lambda w: [w.alder1, replace(w.birch1, state="retired", since=w.now - 2 * DAY)]),
]  # fmt: skip


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_a_vector_has_exactly_its_findings(world, vector):
    """The rules that fail, the status of each SCT, and nothing allowed that failed."""
    verdict = vector.judge(world)
    assert {finding.rule for finding in verdict.failures} == {Rule(code) for code in vector.fails}
    assert verdict.allowed is not bool(vector.fails)
    if vector.scts is not None:
        assert [sct.status for sct in verdict.scts] == vector.scts


def test_the_names_of_the_vectors_are_unique():
    """A name is how a failure is talked about."""
    assert len({vector.name for vector in VECTORS}) == len(VECTORS)


def test_every_rule_has_a_vector_that_passes_and_one_that_fails(world):
    """Counted over the whole table."""
    found = {rule: set() for rule in Rule}
    for vector in VECTORS:
        for finding in vector.judge(world).findings:
            found[finding.rule].add(finding.outcome)
    assert {rule for rule in Rule if {Outcome.PASS, Outcome.FAIL} <= found[rule]} == set(Rule)
    assert all(Rule(code) for vector in VECTORS for code in vector.fails)


def test_every_sct_status_has_a_vector():
    """Each status that an SCT can have stands in the table; MALFORMED ones are in the verifier's own tests."""
    seen = {status for vector in VECTORS for status in vector.scts or ()}
    assert set(SctStatus) - seen == {V.MALFORMED}
