"""Providers on the command line: shown with their own demands, changed in their own files."""

import contextlib
import json
import tomllib
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import pytest

from stubresolver.config import load_log_list, load_policy, load_settings
from stubresolver.evidence import EvidenceStore
from stubresolver.lab.world import World
from stubresolver.trust import load_trust
from stubresolver.upstream import parse_upstream
from stubresolver.verify import Presented, Verifier

LAB, OTHER, QUAD9 = "tls://127.0.0.1#dns.lab", "tls://127.0.0.2#dns.lab", "tls://9.9.9.9#dns.quad9.net"


@dataclass(frozen=True)
class Provided:
    """A configuration with a provider in the lab, another beside it, and everybody's policy beneath both."""

    config: Path
    policy: Path
    lab: Path
    other: Path


@pytest.fixture
def provided(files, world: World) -> Provided:
    """The lab's anchors for everybody; the lab's CA for one provider, and another CA for the other."""
    folder = files.config.parent
    found = Provided(files.config, files.policy, folder / "lab.toml", folder / "other.toml")
    found.policy.write_text(f'[anchors]\nsource = "{files.anchors}"\n')
    for path, name, address, key in (
        (found.lab, "Lab", LAB, world.lab.root_spki_sha256),
        (found.other, "Other", OTHER, world.leaky.root_spki_sha256),
    ):
        path.write_text(
            f'# mine\nname = "{name}"\nupstreams = ["{address}"]\n\n'
            f'[issuers]\nallow = [\n    {{ name = "{name}", spki_sha256 = "{key}" }},\n]\n'
        )
    found.config.write_text(
        'providers = ["lab.toml", "other.toml", "quad9"]\n[trust]\npolicy = "p.toml"\nlog_list = "list.json"\n'
    )
    return found


def shown(outcome) -> list[dict]:
    return [json.loads(line) for line in outcome.out.splitlines()]


def test_policy_of_each_provider_is_shown(run, provided):
    """Each with its name, its upstreams, and the file and line that says each value; the shipped one by its name."""
    told = shown(run("policy", "show", "--config", provided.config, "--json"))
    assert [(each["provider"], each["provider_file"]) for each in told] == [
        ("Lab", str(provided.lab)),
        ("Other", str(provided.other)),
        ("Quad9", "the shipped providers/quad9.toml"),
    ]
    assert {each["file"] for each in told} == {str(provided.policy)}
    assert [each["upstreams"] for each in told[:2]] == [[LAB], [OTHER]]
    assert len(told[2]["upstreams"]) == 8
    values = [{value["key"]: value["source"] for value in each["values"]} for each in told]
    assert values[0]["anchors.source"] == f"{provided.policy}:2"
    assert values[0]["issuers.allow[0]"] == f"{provided.lab}:7"
    assert values[0]["ct.minimum_scts"] == "shipped"
    assert values[2]["issuers.allow[0]"].startswith("the shipped providers/quad9.toml:")
    people = run("policy", "show", "--config", provided.config).out
    assert f"{provided.lab} on top of {provided.policy}, on top of the shipped policy" in people
    assert "whose   Quad9" in people


def test_denials_of_all_files_are_shown(run, provided, files):
    """Those of the provider's file, of everybody's and of the shipped one, each once and with its place."""
    provided.policy.write_text(
        f'{provided.policy.read_text()}[issuers]\ndeny = [{{ reason = "b", spki_sha256 = "{"ab" * 32}" }}]\n'
    )
    twice = f'{{ reason = "b", spki_sha256 = "{"ab" * 32}" }}'
    with provided.lab.open("a") as file:
        file.write(f'deny = [{{ reason = "a", spki_sha256 = "{"cd" * 32}" }}, {twice}]\n')
    lab = shown(run("policy", "show", "--config", provided.config, "--json"))[0]
    denied = {value["key"]: value for value in lab["values"] if value["key"].startswith("issuers.deny")}
    assert [value["value"]["reason"][:4] for value in denied.values()] == ["a", "b", "Fina", "Fina", "Fina"]
    assert [value["source"] for value in denied.values()][:3] == [f"{provided.lab}:9", f"{provided.lab}:9", "shipped"]
    assert list(denied) == [f"issuers.deny[{index}]" for index in range(5)]


def test_everybodys_denial_reaches_every_provider(run, provided, files):
    """`policy deny` writes into [trust] policy, and each provider is judged by it from the next reload on."""
    done = run(
        *("policy", "deny", "--chain", files.chain, "--by", "key", "--reason", "lost", "--yes"),
        *("--config", provided.config),
    )
    assert done.status == 0, done
    assert tomllib.loads(provided.policy.read_text())["issuers"]["deny"]
    assert "Judged by another file" not in done.out
    trust = load_trust(load_settings(provided.config))
    for each in trust.upstreams.values():
        assert any(entry.reason == "lost" for entry in each.policy.issuers.denied)


def test_refused_issuer_is_allowed_in_its_providers_file(run, provided, kept, world):
    """Not in everybody's: the CA may issue for that provider and for no other. Comments and upstreams stay."""
    provided.lab.write_text(provided.lab.read_text().replace(world.lab.root_spki_sha256, "5a" * 31 + "a5"))
    done = run("policy", "allow", "--from-evidence", kept["honest"], "--config", provided.config, "--yes")
    assert done.status == 0, done
    assert "ALLOWED" in done.out
    assert "Judged by another file, and not changed: tls://127.0.0.2" in done.out
    text = provided.lab.read_text()
    assert text.startswith("# mine\n")
    assert tomllib.loads(text)["upstreams"] == [LAB]
    assert len(tomllib.loads(text)["issuers"]["allow"]) == 2
    assert "issuers" not in tomllib.loads(provided.policy.read_text())
    trust = load_trust(load_settings(provided.config))
    lab, other = (trust.upstreams[parse_upstream(text)].policy.issuers.allowed for text in (LAB, OTHER))
    assert len(lab) == 2
    assert len(other) == 1


def test_provider_without_a_list_gets_the_one_beneath(run, provided, kept, world):
    """A list of its own would take that one's place, so its keys are written, too."""
    other = f'{{ name = "Leaky", spki_sha256 = "{world.leaky.root_spki_sha256}" }}'
    provided.policy.write_text(f"{provided.policy.read_text()}[issuers]\nallow = [{other}]\n")
    provided.lab.write_text(f'name = "Lab"\nupstreams = ["{LAB}"]\n')
    done = run("policy", "allow", "--from-evidence", kept["honest"], "--config", provided.config, "--yes")
    assert "its 1 keys are written into it, too" in " ".join(done.out.split())
    names = [entry["name"] for entry in tomllib.loads(provided.lab.read_text())["issuers"]["allow"]]
    assert names[0] == "Leaky"
    assert len(names) == 2


def test_shipped_provider_is_not_changed(run, provided, world, files, tmp_path):
    """What is installed is nobody's to edit; the way is told, and nothing is written anywhere."""
    policy, log_list = load_policy(files.policy), load_log_list(files.log_list)
    presented = Presented(ip_address("9.9.9.9"), "dns.quad9.net", world.issue().chain)
    with contextlib.closing(EvidenceStore(tmp_path / "state" / "evidence.sqlite3")) as store:
        store.keep_demands(policy, log_list)
        identity = store.record(QUAD9, presented, Verifier(policy, log_list).judge(presented, world.now)).id
    before = provided.policy.read_text()
    outcome = run("policy", "allow", "--from-evidence", identity, "--config", provided.config, "--yes")
    assert outcome.status == 2
    assert "the shipped providers/quad9.toml is not changed: copy it" in outcome.err
    assert provided.policy.read_text() == before


def test_good_provider_file_passes_lint(run, provided):
    """The keys beside the policy are known there."""
    assert run("policy", "lint", provided.lab).status == 0
    assert "no errors, no warnings" in run("policy", "lint", provided.lab).out


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("upstreams", "upstream", ":3: error: upstream: unknown key"),
        ("[issuers]", "[isuers]", ":5: error: isuers: unknown key"),
        ("tls://127", "udp://127", ":3: error: upstreams[0]: upstream 'udp://127.0.0.1#dns.lab'"),
        ('name = "Lab"\n', "", "lab.toml: error: name: missing key"),
        ("[issuers]", "[ct]\nminimum_scts = 0\n[issuers]", ":6: error: ct.minimum_scts: got 0"),
        ("[issuers]", '[anchors]\nsource = "absent.pem"\n[issuers]', ":6: error: anchors.source: cannot be read"),
    ],
)  # fmt: skip
def test_wrong_provider_file_is_told_with_its_line(run, provided, old, new, told):
    """As a policy file is: file, line, key and what to do."""
    provided.lab.write_text(provided.lab.read_text().replace(old, new, 1))
    outcome = run("policy", "lint", provided.lab)
    assert outcome.status == 2
    assert told in outcome.out


def test_record_is_judged_again_by_its_provider(run, provided, kept, world):
    """`explain --now` asks what the upstream would be judged by today: that provider's demands, and no other's."""
    today = run("explain", kept["honest"], "--now", "--config", provided.config)
    assert today.status == 0, today
    provided.lab.write_text(provided.lab.read_text().replace(world.lab.root_spki_sha256, world.leaky.root_spki_sha256))
    today = run("explain", kept["honest"], "--now", "--config", provided.config)
    assert today.status == 1
    assert "issuer.allowed" in today.out


@pytest.fixture
def served(provided, start, world):
    """The lab's provider has a server that answers, at a port of its own; the other's is not there."""
    server, port = start()
    provided.lab.write_text(provided.lab.read_text().replace(LAB, f"tls://127.0.0.1:{port}#dns.lab"))
    provided.other.write_text(provided.other.read_text().replace(OTHER, "tls://127.0.0.2:1#dns.lab"))
    provided.config.write_text(provided.config.read_text().replace(', "quad9"', ""))
    return server, f"tls://127.0.0.1:{port}#dns.lab"


def test_check_names_the_provider(run, provided, served):
    """Beside each upstream, for people and for machines, with the files that it is judged by."""
    outcome = run("check", "--config", provided.config)
    assert outcome.status == 3  # the other is not there
    assert f"\nLab: {served[1]}\n" in f"\n{outcome.out}"
    assert "Other: tls://127.0.0.2:1#dns.lab\nNOT REACHED" in outcome.out
    assert f"judged by {provided.lab} on top of {provided.policy}: ct: 2 SCTs" in outcome.out
    told = shown(run("check", "--config", provided.config, "--json"))
    assert [each["provider"] for each in told] == ["Lab", "Other"]
    assert served[0].tally.application_octets == 0


@pytest.mark.parametrize("command", ["check", "query"])
def test_provider_is_tried_before_it_is_configured(run, files, provided, served, command):
    """--provider takes the place of the upstreams that are configured; everything else of the configuration holds."""
    files.config.write_text('upstreams = ["tls://127.0.0.3:1"]\n[trust]\npolicy = "p.toml"\nlog_list = "list.json"\n')
    name = ("example.lab",) if command == "query" else ()
    outcome = run(command, *name, "--config", files.config, "--provider", provided.lab)
    assert outcome.status == 0, outcome
    assert f"Lab: {served[1]}" in outcome.out
    assert "127.0.0.3" not in outcome.out
    outcome = run(command, *name, "--config", files.config, "--provider", "quad0")
    assert outcome.status == 2
    assert "--provider: providers[0]: no provider 'quad0' ships with this version" in outcome.err


@pytest.mark.parametrize("command", ["check", "query"])
def test_certificate_from_another_providers_ca_is_refused(run, provided, served, world, command):
    """The lab's CA is allowed elsewhere in the same configuration; here it is not, and no query is sent."""
    lab, leaky = world.lab.root_spki_sha256, world.leaky.root_spki_sha256
    provided.lab.write_text(provided.lab.read_text().replace(lab, leaky))
    provided.other.write_text(provided.other.read_text().replace(leaky, lab))
    name = ("example.lab",) if command == "query" else ()
    outcome = run(command, *name, "--config", provided.config)
    assert outcome.status == 1, outcome
    assert "issuer.allowed" in outcome.out
    assert served[0].tally.application_octets == 0


def test_next_provider_answers_where_the_first_fails(run, provided, served):
    """And the answer says whose it is."""
    provided.config.write_text(
        provided.config.read_text().replace('"lab.toml", "other.toml"', '"other.toml", "lab.toml"')
    )
    outcome = run("query", "example.lab", "--config", provided.config)
    assert outcome.status == 0, outcome
    assert f";; Lab: {served[1]}, TLSv1.3" in outcome.out
    answer = json.loads(run("query", "example.lab", "--config", provided.config, "--json").out)
    assert (answer["provider"], answer["upstream"]) == ("Lab", served[1])


def test_run_check_names_the_providers(run, provided):
    """Each upstream with its provider and the files that make its policy."""
    outcome = run("run", "--config", provided.config, "--check")
    assert outcome.status == 0, outcome
    assert f"upstream: Lab: {LAB}: {provided.lab} on top of {provided.policy}: " in outcome.out
    assert f"upstream: Quad9: {QUAD9}: the shipped providers/quad9.toml on top of {provided.policy}: " in outcome.out
    assert outcome.out.endswith("everything reads\n")


def test_chain_from_a_file_is_judged_by_the_provider_of_its_address(run, provided, files):
    """Offline as online: whose address it is decides whose CA it may come from."""
    chain = ("check", "--chain", files.chain, "--config", provided.config)
    outcome = run(*chain, "--address", "127.0.0.1")
    assert outcome.status == 0, outcome
    assert f"judged by {provided.lab} on top of {provided.policy}" in outcome.out
    provided.lab.write_text(provided.lab.read_text().replace("127.0.0.1", "127.0.0.9"))
    outcome = run(*chain, "--address", "127.0.0.1")
    assert outcome.status == 1
    assert f"judged by {provided.policy}\n" in outcome.out
