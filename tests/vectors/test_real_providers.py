"""Real certificates of Quad9 and Google under the shipped providers: each is allowed its own CA, and not the other's.

The data lies beside the project (../shared/data) and is never copied into it; without it these tests are skipped.
"""

import tarfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from stubresolver.config import Settings, load_policy, parse_settings
from stubresolver.ct import LogList
from stubresolver.upstream import Upstream
from stubresolver.verify import Policy, Presented, Rule, Verdict, Verifier

CT = {Rule.CT_SCTS, Rule.CT_OPERATORS, Rule.CT_CURRENT}


def settings(*names: str) -> Settings:
    return parse_settings(f"providers = {list(names)}\n".encode(), "mine.toml", Path())


QUAD9, GOOGLE = settings("quad9").upstreams, settings("google").upstreams


@dataclass(frozen=True)
class Shown:
    """A chain as it was shown, its root as a file, and a day on which it was valid."""

    chain: tuple[bytes, ...]
    root: Path
    at: datetime

    def judge(self, upstream: Upstream, policy: Policy, log_list: LogList) -> Verdict:
        presented = Presented(upstream.address, upstream.name, self.chain)
        return Verifier(policy, log_list).judge(presented, self.at)

    def policy(self, provider: str) -> Policy:
        """What a shipped provider demands, with the root of this chain for an anchor."""
        return load_policy(None, self.root, settings(provider).profiles[0])


def shown(folder: Path, leaf: str, issuers: tuple[str, ...], root: str) -> Shown:
    def certificate(name: str) -> x509.Certificate:
        return x509.load_pem_x509_certificate((folder / name).read_bytes())

    chain = [certificate(f"leaf/{leaf}.pem"), *(certificate(f"issuer/{name}.pem") for name in issuers)]
    at = chain[0].not_valid_before_utc + timedelta(days=1)
    return Shown(tuple(each.public_bytes(Encoding.DER) for each in chain), folder / f"issuer/{root}.pem", at)


@pytest.fixture(scope="module")
def quad9(shared_data: Path) -> Shown:
    """Of 2023-07-31, by DigiCert TLS Hybrid ECC SHA384 2020 CA1."""
    issuer = "DigiCert_TLS_Hybrid_ECC_SHA384_2020_CA1_2021-04-14_f7a9a1b2"
    root = "DigiCert_Global_Root_CA_2006-11-10_4348a0e9"
    return shown(shared_data / "certs", "star.quad9.net_2023-07-31_db799144", (issuer,), root)


@pytest.fixture(scope="module", params=["2022-06-06_f9d982d6", "2022-07-18_91df6d0c", "2022-08-01_fc7ab839"])
def google(shared_data: Path, request: pytest.FixtureRequest) -> Shown:
    """Of 2022, by GTS CA 1C3 and GTS Root R1, that one cross-signed by GlobalSign."""
    issuers = ("GTS_CA_1C3_2020-08-13_23ecb03e", "GTS_Root_R1_2020-06-19_3ee0278d")
    root = "GlobalSign_Root_CA_1998-09-01_ebd41040"
    return shown(shared_data / "certs", f"dns.google_{request.param}", issuers, root)


@pytest.fixture(scope="module")
def list_of_the_day(shared_data: Path, quad9: Shown) -> LogList:
    """The newest log list that was there on the day that Quad9's chain is judged for."""
    with tarfile.open(shared_data / "loglists/google_v3_daily_2023-03-08_2026-01-02_signed.tar.xz") as tar:
        lists = [LogList.parse(tar.extractfile(each).read()) for each in tar if each.name.endswith(".json")]
    return max((each for each in lists if each.timestamp <= quad9.at), key=lambda each: each.timestamp)


def failed(verdict: Verdict) -> set[Rule]:
    return {finding.rule for finding in verdict.failures}


@pytest.mark.parametrize("upstream", QUAD9, ids=str)
def test_quad9_is_allowed_by_its_provider(quad9: Shown, list_of_the_day: LogList, upstream: Upstream) -> None:
    """Path, address, name, issuer, SCTs: every demand is met at every address, as on that day."""
    verdict = quad9.judge(upstream, quad9.policy("quad9"), list_of_the_day)
    assert verdict.allowed, verdict.summary
    assert list_of_the_day.timestamp > datetime(2023, 7, 30, tzinfo=UTC)


@pytest.mark.parametrize("upstream", QUAD9, ids=str)
def test_quad9_is_refused_by_googles(quad9: Shown, list_of_the_day: LogList, upstream: Upstream) -> None:
    """By its issuer, and by nothing else."""
    assert failed(quad9.judge(upstream, quad9.policy("google"), list_of_the_day)) == {Rule.ISSUER_ALLOWED}


@pytest.mark.parametrize("upstream", GOOGLE, ids=str)
def test_google_is_allowed_by_its_provider(google: Shown, list_of_the_day: LogList, upstream: Upstream) -> None:
    """At every address. The logs of 2022 are on no list held, so CT refuses it here, and nothing else does."""
    policy = google.policy("google")
    assert failed(google.judge(upstream, policy, list_of_the_day)) == CT
    assert google.judge(upstream, replace(policy, ct=None), list_of_the_day).allowed


@pytest.mark.parametrize("upstream", GOOGLE, ids=str)
def test_google_is_refused_by_quad9s(google: Shown, list_of_the_day: LogList, upstream: Upstream) -> None:
    """By its issuer, with CT and without."""
    policy = google.policy("quad9")
    assert failed(google.judge(upstream, policy, list_of_the_day)) == CT | {Rule.ISSUER_ALLOWED}
    assert failed(google.judge(upstream, replace(policy, ct=None), list_of_the_day)) == {Rule.ISSUER_ALLOWED}


def test_neither_speaks_for_the_others_address(quad9: Shown, google: Shown, list_of_the_day: LogList) -> None:
    """Whoever sends one provider's connections to the other is refused by address, name and issuer."""
    for chain, upstream, provider in ((quad9, GOOGLE[0], "google"), (google, QUAD9[0], "quad9")):
        found = failed(chain.judge(upstream, chain.policy(provider), list_of_the_day))
        assert {Rule.PATH_ADDRESS, Rule.PATH_NAME, Rule.ISSUER_ALLOWED} <= found


def test_older_certificate_of_google_is_refused(shared_data: Path, list_of_the_day: LogList) -> None:
    """That of 2020 led to a root that GlobalSign had sold to Google, whose key is on no list here."""
    chain = shown(
        shared_data / "certs",
        "dns.google_2020-11-03_e07db0aa",
        ("GTS_CA_1O1_2017-06-15_95c074e3",),
        "GlobalSign_2006-12-15_4ef06b38",
    )
    assert Rule.ISSUER_ALLOWED in failed(chain.judge(GOOGLE[0], chain.policy("google"), list_of_the_day))
