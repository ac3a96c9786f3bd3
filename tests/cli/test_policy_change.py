"""`stubresolver policy deny` and `allow`: what is shown, what is written, what is left alone."""

import tomllib
from ipaddress import ip_address

import pytest

from stubresolver.config import load_log_list, load_policy, read_shipped
from stubresolver.verify import Outcome, Presented, Rule, Verifier, certificates_from_pem
from stubresolver.verify.certificate import read_certificate

REASON = "its key was published on 2026-11-20"


def issuers(file):
    return tomllib.loads(file.read_text())["issuers"]


def judge(files, world):
    presented = Presented(ip_address("127.0.0.1"), "dns.lab", certificates_from_pem(files.chain.read_bytes()))
    verdict = Verifier(load_policy(files.policy), load_log_list(files.log_list)).judge(presented, world.now)
    return {finding.rule: finding for finding in verdict.findings if finding.outcome is Outcome.FAIL}


def deny(run, files, *arguments):
    return run("policy", "deny", "--chain", files.chain, "--reason", REASON, "--config", files.config, *arguments)


@pytest.mark.parametrize("by", ["serial", "key", "certificate"])
@pytest.mark.parametrize("place", ["leaf", "issuer", "root"])
def test_what_is_denied_is_refused(run, files, world, by, place):
    """Whatever certificate of the chain, however it is named: the chain is refused from then on, for this reason."""
    other = f'{{ name = "Leaky", spki_sha256 = "{world.leaky.root_spki_sha256}" }}'
    files.policy.write_text(files.policy.read_text().replace("allow = [", f"allow = [{other}, "))
    assert Rule.ISSUER_DENIED not in judge(files, world)
    before = files.policy.read_text()
    outcome = deny(run, files, "--by", by, "--at", place, "--yes")
    assert outcome.status == 0, outcome
    assert judge(files, world)[Rule.ISSUER_DENIED].detail == f"denied: {REASON}"
    assert files.policy.with_name("p.toml~").read_text() == before
    [entry] = issuers(files.policy)["deny"]
    assert len(entry) == (3 if by == "serial" else 2)


def test_only_the_one_certificate_is_denied(run, files, world):
    """By serial number, a leaf of the same issuer is still allowed."""
    deny(run, files, "--yes")
    files.chain.write_bytes(world.issue().chain_pem)
    assert judge(files, world).keys() & {Rule.ISSUER_DENIED} == set()


def test_change_that_would_refuse_everything_is_not_made(run, files):
    """Denying the only allowed key would leave a policy with an error: nothing is written."""
    text = files.policy.read_text()
    outcome = deny(run, files, "--by", "key", "--at", "root", "--yes")
    assert (outcome.status, files.policy.read_text()) == (2, text)
    assert "nothing was changed, the file would be wrong" in outcome.err


def test_what_will_be_denied_is_shown(run, files):
    """Subject, issuer and serial number, and what the entry means, before anything is asked."""
    leaf = read_certificate(certificates_from_pem(files.chain.read_bytes())[0])
    outcome = deny(run, files, "--yes")
    for text in (leaf.subject, leaf.issuer, f"{leaf.serial:x}", leaf.spki_sha256.hex(), "This one certificate"):
        assert text in outcome.out
    assert "stubresolver reload" in outcome.out


def test_denied_again_changes_nothing(run, files):
    """The same twice, or what a denied key covers already: one entry, the file untouched."""
    deny(run, files, "--yes")
    text, again = files.policy.read_text(), deny(run, files, "--yes")
    assert (again.status, files.policy.read_text()) == (0, text)
    assert f"denied already: {REASON}" in again.out
    assert deny(run, files, "--by", "key", "--yes").status == 0  # says more
    assert len(issuers(files.policy)["deny"]) == 2
    assert "denied already" in deny(run, files, "--by", "certificate", "--yes").out


def test_nothing_is_changed_without_a_yes(run, files, monkeypatch):
    """No terminal and no --yes: exit status 2. A terminal and a no: exit status 1. Both leave the file."""
    text = files.policy.read_text()
    outcome = deny(run, files)
    assert (outcome.status, files.policy.read_text()) == (2, text)
    assert "needs --yes" in outcome.err
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    for answer, status in ((False, 1), (True, 0)):
        monkeypatch.setattr("click.confirm", lambda *_, answer=answer, **__: answer)
        assert deny(run, files).status == status
        assert (files.policy.read_text() == text) is not answer


def test_comments_and_mode_stay(run, files):
    """The file is edited, not written anew."""
    files.policy.write_text(
        "# mine, with care\n" + files.policy.read_text() + "deny = [\n    # nobody yet\n]\n# the end\n"
    )
    files.policy.chmod(0o600)
    deny(run, files, "--yes")
    text = files.policy.read_text()
    assert text.startswith("# mine, with care\n")
    assert "    # nobody yet\n    { reason = " in text
    assert text.endswith("]\n# the end\n")
    assert files.policy.stat().st_mode & 0o777 == 0o600


def test_file_with_an_error_is_left_alone(run, files):
    """A policy that does not read is not changed."""
    files.policy.write_text("[ct]\nminimum_sct = 3\n")
    outcome = deny(run, files, "--yes")
    assert (outcome.status, files.policy.read_text()) == (2, "[ct]\nminimum_sct = 3\n")
    assert "ct.minimum_sct" in outcome.err


def test_new_file_is_made_and_said_to_be_without_effect(run, files, tmp_path):
    """A file that is named and not there is made; until the configuration names it nobody is judged by it."""
    file = tmp_path / "new.toml"
    outcome = run(
        *("policy", "deny", "--chain", files.chain, "--reason", REASON, "--by", "key", "--policy", file, "--yes")
    )
    assert outcome.status == 0
    assert "No upstream is judged by this file" in outcome.out
    assert [entry["reason"] for entry in issuers(file)["deny"]] == [REASON]


def test_upstreams_of_other_files_are_named(run, files, tmp_path):
    """Who is judged by another file is not covered by the change, and that is said."""
    (tmp_path / "corp.toml").write_text("[ct]\nrequired = false\n")
    files.config.write_text(
        'upstreams = ["tls://127.0.0.1", "tls://10.0.0.53"]\n'
        '[trust]\npolicy = "p.toml"\nupstreams = { "tls://10.0.0.53" = "corp.toml" }\n'
    )
    outcome = deny(run, files, "--yes")
    assert "Judged by another file, and not changed: tls://10.0.0.53" in outcome.out


def test_upstream_that_would_be_cut_off_is_named(run, files, kept, world):
    """Denying the CA of a certificate with which an upstream was last allowed is told beforehand."""
    files.config.write_text(
        'upstreams = ["tls://127.0.0.1#dns.lab"]\n[trust]\npolicy = "p.toml"\nlog_list = "list.json"\n'
    )
    words = "tls://127.0.0.1#dns.lab was last allowed with a certificate that this denies"
    assert words not in deny(run, files, "--yes").out
    assert words in deny(run, files, "--at", "issuer", "--by", "key", "--yes").out


def test_deny_needs_to_know_the_issuer(run, files, world, tmp_path):
    """A leaf whose issuer is nowhere cannot be denied by serial number; by its own key it can."""
    chain = tmp_path / "stranger.pem"
    chain.write_bytes(world.issue(authority=world.stranger).chain_pem.split(b"-----END CERTIFICATE-----\n")[0])
    chain.write_bytes(chain.read_bytes() + b"-----END CERTIFICATE-----\n")
    files.chain.write_bytes(chain.read_bytes())
    for arguments, words in (
        ((), "is neither in the file nor a trust anchor"),
        (("--at", "issuer"), "the issuer of CN=dns.lab"),
        (("--at", "root"), "the root of CN=dns.lab"),
    ):
        outcome = deny(run, files, *arguments, "--yes")
        assert outcome.status == 2
        assert words in outcome.err
    assert deny(run, files, "--by", "key", "--yes").status == 0


def test_deny_tells_bad_input(run, files, tmp_path):
    """One line each, and the file as it was."""
    text = files.policy.read_text()
    (tmp_path / "junk.pem").write_text("hello")
    chain = ("--chain", files.chain)
    for arguments, words in (
        (("--chain", "/nowhere.pem", "--reason", "x"), "/nowhere.pem: cannot be read"),
        (("--chain", tmp_path / "junk.pem", "--reason", "x"), "no certificates in PEM"),
        ((*chain, "--reason", " "), "expected one line of text"),
        ((*chain, "--reason", "two\nlines"), "expected one line of text"),
        ((*chain,), "Missing option '--reason'"),
        ((*chain, "--reason", "x", "--by", "name"), "Invalid value for '--by'"),
        ((*chain, "--reason", "x", "--policy", tmp_path / "no" / "p.toml"), "cannot be written: No such file"),
    ):
        outcome = run("policy", "deny", "--config", files.config, "--yes", *arguments)
        assert outcome.status == 2, arguments
        assert words in outcome.err
    assert files.policy.read_text() == text
    outcome = run("policy", "deny", *chain, "--reason", "x", "--yes")
    assert "no policy file to change: the shipped policy is in force" in outcome.err
    files.policy.unlink()
    assert "not there, although the configuration names it" in deny(run, files, "--yes").err


def allow(run, files, identity, *arguments):
    return run("policy", "allow", "--from-evidence", identity, "--config", files.config, *arguments)


@pytest.mark.parametrize("place", ["issuer", "root"])
def test_issuer_that_was_refused_is_allowed(run, files, kept, world, place):
    """After a look at it: the CA is on the list, and the same judgement comes out allowed."""
    outcome = allow(run, files, kept["finish"][:10], "--at", place, "--yes")
    assert outcome.status == 0, outcome
    for text in ("REFUSED  issuer.allowed", "CN=Finish CA TLS", "CN=Finish CA Root", world.finish.root_spki_sha256):
        assert text in outcome.out
    assert "With it, the same judgement would be:\nALLOWED" in outcome.out
    wanted = world.finish.intermediate_spki_sha256 if place == "issuer" else world.finish.root_spki_sha256
    assert [entry["spki_sha256"] for entry in issuers(files.policy)["allow"]] == [world.lab.root_spki_sha256, wanted]
    assert run("explain", kept["finish"], "--policy", files.policy).status == 0
    again = allow(run, files, kept["finish"], "--at", place, "--yes")
    assert (again.status, "its issuer is allowed already" in again.out) == (0, True)


def test_shipped_list_is_written_too_where_there_is_none(run, files, kept, world):
    """A list of one's own takes the place of the shipped one: it is copied, and that is said."""
    files.policy.write_text(f'[anchors]\nsource = "{files.anchors}"\n')
    outcome = allow(run, files, kept["finish"], "--yes")
    shipped = tomllib.loads(read_shipped("policy.toml").decode())["issuers"]["allow"]
    assert outcome.status == 0
    assert f"its {len(shipped)} keys are written into it, too" in " ".join(outcome.out.split())
    listed = issuers(files.policy)["allow"]
    assert listed[:-1] == shipped
    assert listed[-1]["spki_sha256"] == world.finish.intermediate_spki_sha256


def test_issuer_that_would_not_help_is_not_allowed(run, files, kept, world, tmp_path):
    """Already allowed, denied, or without a valid path: said so, nothing written."""
    text = files.policy.read_text()
    outcome = allow(run, files, kept["unlogged"], "--yes")
    assert (outcome.status, files.policy.read_text()) == (0, text)
    assert "its issuer is allowed already: Lab is on the allow-list" in outcome.out
    key = world.finish.root_spki_sha256
    files.policy.write_text(text + f'deny = [{{ reason = "Fina again", spki_sha256 = "{key}" }}]\n')
    outcome = allow(run, files, kept["finish"], "--yes")
    assert (outcome.status, "on the deny-list, which outweighs" in outcome.err) == (2, True)
    outcome = allow(run, files, kept["finish"], "--policy", tmp_path / "new.toml", "--yes")  # anchors: certifi
    assert (outcome.status, "there is no valid path, and no issuer to allow" in outcome.err) == (2, True)
    assert not (tmp_path / "new.toml").exists()


def test_allow_without_a_yes_changes_nothing(run, files, kept):
    """As with deny."""
    text = files.policy.read_text()
    outcome = allow(run, files, kept["finish"])
    assert (outcome.status, files.policy.read_text()) == (2, text)
    assert "needs --yes" in outcome.err
    assert allow(run, files, "0" * 12, "--yes").status == 2
