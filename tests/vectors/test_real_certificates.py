"""Real certificates under real log lists: what logs and CAs signed is found good, and judged as Chrome's rule says.

The data lies beside the project (../shared/data) and is never copied into it; without it these tests are skipped.
"""

import base64
import json
import tarfile
import tomllib
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from importlib import resources
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from stubresolver.ct import (
    DENIED_LOGS,
    CTPolicy,
    LogList,
    Precertificate,
    SctStatus,
    check_sct,
    embedded_list,
    parse_sct,
)
from stubresolver.errors import LogListError
from stubresolver.verify import Outcome, Policy, Presented, Rule, Verifier, read_policy

DAY = timedelta(days=1)
SHIPPED_LIST = (resources.files("stubresolver") / "data/log_list.json").read_bytes()
SHIPPED_POLICY = (resources.files("stubresolver") / "data/policy.toml").read_bytes()
ISSUERS = read_policy(SHIPPED_POLICY, None, "none").issuers

# Leaves of 2016 to 2022 used shards that were gone when the oldest list held here was written: how many SCTs of each.
UNKNOWN = {
    "cloudflare-dns.com_2021-10-25": 3,
    "dns.google_2020-11-03_e07db0aa": 2,
    "dns.google_2022-06-06_f9d982d6": 2,
    "dns.google_2022-07-18_91df6d0c": 2,
    "dns.google_2022-08-01_fc7ab839": 2,
    "www.netflix.com_2016-11-08_d58b0dcb": 2,
    "nosubject_2017-03-17_4dd1e0e4": 1,
    "github.com_2018-05-08_3111500c": 1,
    "babylonhealth.com_2018-06-11_fa679170": 1,
    "ams-ps.ooni.nu_2019-11-29_ad80aad1": 2,
    "www.google.com_2019-12-10_0c3314af": 2,
    "www.example.org_2020-11-24_200dcafa": 2,
    "revoked.badssl.com_2021-10-27_29abf614": 3,
    "star.facebookwkhpilnemxj7asaniu7vnjjbiltxjqhye3mhbshg7kx5tfyd.onion_2022-03-10_1c075461": 3,
    "star.whatsapp.net_2022-09-15_5628b79a": 3,
}
WITHOUT_SCTS = {
    "cloudflare-dns.com_2018-03-30",
    "fiskalcis_2024-09-09_no-SCT_not-TLS",
    "no-sct.badssl.com_2023-10-27_181af79e",
}
FINA, OLD_CLOUDFLARE = "cis.porezna-uprava.hr_2025-12-18", "cloudflare-dns.com_2018-03-30"
CLOUDFLARE = "cloudflare-dns.com_2021-10-25"


@dataclass(frozen=True)
class Leaf:
    """One real leaf with its issuers and root, and the moment and list it is judged by."""

    name: str
    chain: tuple[bytes, ...]
    root: bytes
    row: dict
    at: datetime  # a day after it began and its last SCT was signed
    listed: bytes  # the octets of the log list

    def presented(self):
        addresses, names = self.row["ip_sans"], self.row["dns_sans"]
        address = ip_address(addresses[0]) if addresses else None
        return Presented(address, names[0].replace("*", "any") if names else None, self.chain)

    def verifier(self):
        """The shipped demands, with its own root for an anchor."""
        policy = Policy((self.root,), ISSUERS, CTPolicy(), address_required=bool(self.row["ip_sans"]))
        return Verifier(policy, LogList.parse(self.listed))

    def judge(self):
        return self.verifier().judge(self.presented(), self.at)


@pytest.fixture(scope="module")
def lists(shared_data):
    """The octets of every log list held, by its own date; the shipped one is the newest."""
    with tarfile.open(shared_data / "loglists/google_v3_daily_2023-03-08_2026-01-02_signed.tar.xz") as tar:
        daily = [tar.extractfile(member).read() for member in tar if member.name.endswith(".json")]
    singles = [path.read_bytes() for path in sorted((shared_data / "loglists").glob("*.json"))]
    assert (len(daily), len(singles)) == (810, 4)
    found = [(LogList.parse(octets), octets) for octets in (*daily, *singles, SHIPPED_LIST)]
    return sorted(found, key=lambda item: item[0].timestamp)


@pytest.fixture(scope="module")
def leaves(shared_data, lists):
    """Every leaf of the index, by the name of its file."""
    folder = shared_data / "certs"
    return {
        leaf.name: leaf
        for leaf in (_leaf(folder, row, lists) for row in json.loads((folder / "index.json").read_bytes()))
    }


def _leaf(folder, row, lists):
    def der(name):
        return x509.load_pem_x509_certificate((folder / name).read_bytes()).public_bytes(Encoding.DER)

    chain = tuple(der(name) for name in (row["leaf"], *row["issuers"]))
    scts = [parse_sct(octets) for octets in embedded_list(chain[0]) or []]
    times = [datetime.fromtimestamp(sct.timestamp / 1000, UTC) for sct in scts]
    at = max(datetime.fromisoformat(row["not_before"]), *times, datetime.min.replace(tzinfo=UTC)) + DAY

    def unknown(item):
        return sum(sct.log_id not in item[0].logs for sct in scts)

    # the newest list of its time; where none held then knows its logs, the oldest of those that know the most
    before = [item for item in lists if item[0].timestamp <= at and not unknown(item)]
    listed = before[-1] if before else min(lists, key=unknown)
    return Leaf(row["leaf"].removeprefix("leaf/").removesuffix(".pem"), chain, der(row["root"]), row, at, listed[1])


def outcome(verdict, rule):
    return [finding.outcome for finding in verdict.findings if finding.rule is rule]


def test_all_lists_load_and_agree_on_what_is_denied(lists):
    """815 lists: no mimic in any, the placeholders only as retired, which loads."""
    denied = Counter(log_id for found, _ in lists for log_id in found.logs if log_id in DENIED_LOGS)
    assert len(lists) == 815
    assert sorted(DENIED_LOGS[log_id] for log_id in denied) == ["placeholder log, not real"] * 2


def test_a_real_placeholder_offered_as_usable_refuses_the_list(lists):
    """With its own key and id, in a real list: only its state is changed."""
    octets = next(octets for found, octets in reversed(lists) if found.logs.keys() & DENIED_LOGS.keys())
    document = json.loads(octets)
    entries = [log for op in document["operators"] for log in (*op["logs"], *op.get("tiled_logs", []))]
    entry = next(log for log in entries if "ogus" in log["description"])
    entry["state"] = {"usable": next(iter(entry["state"].values()))}
    with pytest.raises(LogListError, match="which must never count"):
        LogList.parse(json.dumps(document).encode())


def test_every_sct_of_a_known_log_is_valid(leaves):
    """Each embedded SCT verifies under its log's key; exactly those of shards that no list holds are unknown."""
    unknown, bare = {}, set()
    for name, leaf in leaves.items():
        statuses = Counter(sct.status for sct in leaf.judge().scts)
        assert statuses.total() == leaf.row["embedded_scts"], name
        assert statuses.keys() <= {SctStatus.VALID, SctStatus.UNKNOWN_LOG}, name
        if statuses[SctStatus.UNKNOWN_LOG]:
            unknown[name] = statuses[SctStatus.UNKNOWN_LOG]
        if not statuses:
            bare.add(name)
    assert unknown == UNKNOWN
    assert bare == WITHOUT_SCTS


def test_the_counts_are_those_of_chromes_rule(leaves):
    """Recomputed here from the list's own JSON and the dates of the certificate, in plain lines."""
    compliant = 0
    for name, leaf in leaves.items():
        enough, diverse, current = _chrome(leaf)
        verdict = leaf.judge()
        found = [
            outcome(verdict, rule) == [Outcome.PASS] for rule in (Rule.CT_SCTS, Rule.CT_OPERATORS, Rule.CT_CURRENT)
        ]
        assert found == [enough, diverse, current], name
        compliant += all(found)
    assert compliant == len(leaves) - len(WITHOUT_SCTS) - len(UNKNOWN)


def _chrome(leaf):
    """ct_policy.md: (enough distinct logs, two operators, one current log)."""
    logs = {}
    for operator in json.loads(leaf.listed)["operators"]:
        for log in (*operator["logs"], *operator.get("tiled_logs", [])):
            word, value = next(iter(log["state"].items()), ("pending", {"timestamp": 0}))
            since = value["timestamp"]
            since = (
                datetime.fromtimestamp(since / 1000, UTC) if isinstance(since, int) else datetime.fromisoformat(since)
            )
            former = [
                (term["name"], datetime.fromisoformat(term["end_time"])) for term in log.get("previous_operators", [])
            ]
            logs[log["log_id"]] = (operator["name"], former, word, since)
    parsed = x509.load_der_x509_certificate(leaf.chain[0])
    try:
        scts = parsed.extensions.get_extension_for_class(x509.PrecertificateSignedCertificateTimestamps).value
    except x509.ExtensionNotFound:
        return False, False, False
    known = []
    for sct in scts:
        log_id = base64.b64encode(sct.log_id).decode()
        if log_id in logs:
            known.append((log_id, sct.timestamp.replace(tzinfo=UTC), *logs[log_id]))
    alive = [
        each
        for each in known
        if each[4] in {"qualified", "usable", "readonly"} or (each[4] == "retired" and each[5] > leaf.at)
    ]
    issued = min((each[1] for each in alive), default=datetime.max.replace(tzinfo=UTC))
    gone = [
        each for each in known if each[4] == "retired" and each not in alive and each[1] < each[5] and issued < each[5]
    ]
    counted = alive + gone
    operators = {next((n for n, end in former if time < end), name) for _, time, name, former, _, _ in counted}
    lifetime = parsed.not_valid_after_utc - parsed.not_valid_before_utc
    needed = 2 if lifetime <= timedelta(days=180) else 3
    return len({each[0] for each in counted}) >= needed, len(operators) >= 2, len(alive) >= 1


def test_the_path_is_what_the_index_says_of_the_own_root(leaves):
    """Valid where an independent run of the library found it so, refused where an old root breaks the web's profile."""
    for name, leaf in leaves.items():
        expected = Outcome.PASS if leaf.row["path_by_cryptography"]["own root"] == "ok" else Outcome.FAIL
        assert outcome(leaf.judge(), Rule.PATH_VALID) == [expected], name


def test_the_issuers_are_judged_by_their_keys(leaves):
    """Allowed if a CA above the leaf has a key of the shipped allow-list, denied if any has one of the deny-list."""
    shipped = tomllib.loads(SHIPPED_POLICY.decode())["issuers"]
    allowed = {entry["spki_sha256"] for entry in shipped["allow"]}
    denied = {entry["spki_sha256"] for entry in shipped["deny"]}
    tally = Counter()
    for name, leaf in leaves.items():
        keys = {_key_hash(der).hex() for der in (*leaf.chain[1:], leaf.root)}
        verdict = leaf.judge()
        if outcome(verdict, Rule.PATH_VALID) == [Outcome.PASS]:
            expected = Outcome.PASS if keys & allowed else Outcome.FAIL
            assert outcome(verdict, Rule.ISSUER_ALLOWED) == [expected], name
            tally[expected] += 1
        assert (Outcome.FAIL in outcome(verdict, Rule.ISSUER_DENIED)) is bool(keys & denied), name
        assert bool(keys & denied) is (name in {FINA, "fiskalcis_2024-09-09_no-SCT_not-TLS"}), name
    assert min(tally[Outcome.PASS], tally[Outcome.FAIL]) >= 5


def test_the_fina_leaf_is_logged_and_refused_by_its_issuer(leaves):
    """Its three SCTs are valid, its counts are right, its root is trusted here, and still it is refused: the case."""
    verdict = leaves[FINA].judge()
    assert [sct.status for sct in verdict.scts] == [SctStatus.VALID] * 3
    for rule in (Rule.PATH_VALID, Rule.CT_SCT_LIST, Rule.CT_SCTS, Rule.CT_OPERATORS, Rule.CT_CURRENT):
        assert outcome(verdict, rule) == [Outcome.PASS]
    assert outcome(verdict, Rule.ISSUER_ALLOWED) == [Outcome.FAIL]
    assert set(outcome(verdict, Rule.ISSUER_DENIED)) == {Outcome.FAIL}
    assert {finding.rule for finding in verdict.failures} == {Rule.ISSUER_ALLOWED, Rule.ISSUER_DENIED}


def test_the_cloudflare_leaf_of_2018_is_refused_for_want_of_scts(leaves):
    """Path, address and issuer are right; nobody logged it."""
    verdict = leaves[OLD_CLOUDFLARE].judge()
    expected = {Rule.CT_SCT_LIST, Rule.CT_SCTS, Rule.CT_OPERATORS, Rule.CT_CURRENT}
    assert {finding.rule for finding in verdict.failures} == expected
    assert verdict.summary.startswith("ct.sct-list: no embedded SCTs")


def test_the_cloudflare_leaf_of_2021_speaks_for_its_addresses(leaves):
    """Path, every address and issuer pass; its three shards are on no list held, so CT refuses."""
    leaf = leaves[CLOUDFLARE]
    verdict = leaf.judge()
    assert {finding.rule for finding in verdict.failures} == {Rule.CT_SCTS, Rule.CT_OPERATORS, Rule.CT_CURRENT}
    verifier = Verifier(Policy((leaf.root,), ISSUERS))
    for address in leaf.row["ip_sans"]:
        assert verifier.judge(Presented(ip_address(address), None, leaf.chain), leaf.at).allowed
    assert "1.1.1.1" in leaf.row["ip_sans"]
    assert not verifier.judge(Presented(ip_address("1.1.1.4"), None, leaf.chain), leaf.at).allowed


def test_a_quad9_leaf_is_allowed_as_a_whole(leaves):
    """A public resolver's real certificate, address and all, passes every demand on its day."""
    leaf = leaves["star.quad9.net_2023-07-31_db799144"]
    assert leaf.judge().allowed
    assert ip_address("9.9.9.9") in {ip_address(each) for each in leaf.row["ip_sans"]}


def test_a_flipped_bit_in_a_real_leaf_is_refused(leaves):
    """One bit in every seventh octet of the quad9 leaf and of its issuer: TBS, key, SCTs, signature."""
    leaf = leaves["star.quad9.net_2023-07-31_db799144"]
    verifier, shown = leaf.verifier(), leaf.presented()
    assert verifier.judge(shown, leaf.at).allowed
    for index in (0, 1):
        for position in range(0, len(leaf.chain[index]), 7):
            turned = bytearray(leaf.chain[index])
            turned[position] ^= 1 << position % 8
            chain = (*leaf.chain[:index], bytes(turned), *leaf.chain[index + 1 :])
            assert not verifier.judge(replace(shown, chain=chain), leaf.at).allowed, position


def test_a_flipped_bit_in_what_a_real_log_signed_is_refused(leaves):
    """TBS, issuer key hash or SCT of real certificates with one bit turned: never VALID for the turned thing."""
    checked = 0
    for leaf in leaves.values():
        parsed = x509.load_der_x509_certificate(leaf.chain[0])
        if not leaf.row["embedded_scts"] or leaf.name in UNKNOWN:
            continue
        log_list = LogList.parse(leaf.listed)
        issuer = leaf.chain[1] if len(leaf.chain) > 1 else leaf.root
        whole = Precertificate(
            parsed.tbs_precertificate_bytes, _key_hash(issuer), parsed.not_valid_before_utc, parsed.not_valid_after_utc
        )
        for octets in embedded_list(leaf.chain[0]):
            bit = checked * 37
            turned = [
                (octets, replace(whole, tbs=_flip(whole.tbs, bit))),
                (octets, replace(whole, issuer_key_hash=_flip(whole.issuer_key_hash, bit))),
                (_flip(octets, bit), whole),
            ]
            assert check_sct(octets, whole, log_list, CTPolicy(), leaf.at).status is SctStatus.VALID
            for sct, precertificate in turned:
                assert check_sct(sct, precertificate, log_list, CTPolicy(), leaf.at).status is not SctStatus.VALID
            checked += 1
    assert checked > 90


def _flip(octets, bit):
    turned = bytearray(octets)
    turned[bit // 8 % len(octets)] ^= 1 << bit % 8
    return bytes(turned)


def _key_hash(der):
    key = x509.load_der_x509_certificate(der).public_key()
    return sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
