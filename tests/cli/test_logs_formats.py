"""Lists in all four formats, through the command; and real ones with their real signatures."""

import json

import pytest

from tests.cli.logs_world import LATER, LOGS, NEW_LOG, Lists, make_lists
from tests.loglists.formats import as_apple, as_mozilla, as_v3, as_v3_ms

FORMATS = {
    "v3": as_v3,
    "v3-ms": as_v3_ms,
    "apple": lambda logs, _at: as_apple(logs),  # Apple's has no date
    "mozilla": as_mozilla,
}


@pytest.fixture
def lists(tmp_path) -> Lists:
    return make_lists(tmp_path / "lists")


@pytest.mark.parametrize("word", FORMATS)
def test_each_format_is_shown_compared_and_verified(run, lists, word) -> None:
    """The same twelve logs and a new one, whoever wrote them down."""
    source = lists.source("source", FORMATS[word]([*LOGS, NEW_LOG], LATER))
    facts = json.loads(run("logs", "show", source, "--json").out)
    assert (facts["format"], facts["listed"], facts["counting"]) == (word, 13, 13)
    changes = json.loads(run("logs", "diff", "installed", source, "--json", "--config", lists.config).out)["changes"]
    assert [change["log"] for change in changes if change["kind"] == "added"] == ["Alder 5"]
    assert run("logs", "verify", source, "--config", lists.config).status == 0


@pytest.mark.parametrize(("one", "other"), [("v3", "mozilla"), ("v3-ms", "apple"), ("apple", "mozilla")])
def test_two_formats_together_are_a_quorum(run, lists, one, other) -> None:
    """What two publishers list, each in its own format, is taken."""
    sources = [lists.source(word, FORMATS[word]([*LOGS, NEW_LOG], LATER)) for word in (one, other)]
    found = run("logs", "update", "--yes", "--config", lists.config, "--from", *sources)
    assert found.status == 0
    assert "added Alder 5 (Alder)" in found.out
    assert json.loads(run("logs", "show", "--json", "--config", lists.config).out)["listed"] == 13


def test_a_real_list_with_its_real_signature_vouches(run, lists, shared_data) -> None:
    """From the list of December 2023 to that of January 2026, on the word of the key that signed it."""
    folder = shared_data / "loglists"
    lists.list.write_bytes((folder / "google_v3_28.17_2023-12-16.json").read_bytes())
    source, key = folder / "google_v3_80.14_2026-01-02.json", folder / "google_log_list_pubkey.pem"
    arguments = ("logs", "update", "--config", lists.config, "--key", key, "--from", source, "--force", "--json")
    facts = json.loads(run(*arguments).out)
    assert facts["sources"][0]["vouched"] == "google_log_list_pubkey.pem"
    assert {"added", "removed"} <= {change["kind"] for change in facts["changes"]}
    unsigned = lists.source("unsigned.json", source.read_bytes())
    facts = json.loads(run("logs", "update", "--config", lists.config, "--from", unsigned, "--force", "--json").out)
    assert facts["withheld"]
    assert "added" not in {change["kind"] for change in facts["changes"]}
    mis_signed = folder / "google_v3_57.1_2025-06-21.sig"
    found = run("logs", "verify", source, "--key", key, "--signature", mis_signed, "--config", lists.config)
    assert found.status == 1
    assert "mis-signed" in found.out
