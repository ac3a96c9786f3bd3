"""Entries are added to a TOML file, and nothing else is touched."""

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stubresolver.cli.toml_edit import append_entries, inline_table
from stubresolver.errors import BadInput

NEW = {"reason": "new", "spki_sha256": "ab" * 32}
OLD = '{ reason = "old", spki_sha256 = "00" }'


def denied(text):
    return tomllib.loads(text)["issuers"]["deny"]


FILES = {
    "empty": "",
    "only a comment, no line end": "# mine",
    "another table": "[ct]\nminimum_scts = 3\n",
    "the table without the list": "[ct]\n\n[issuers] # who\nallow = [{ name = 'a', spki_sha256 = '11' }]\n\n[tls]\n",
    "the header at the very end": "[issuers]",
    "an empty list": "[issuers]\ndeny = []\n",
    "one line": f"[issuers]\ndeny = [{OLD}]\n[ct]\nrequired = true\n",
    "one line with a comma": f"[issuers]\ndeny = [{OLD},]\n",
    "many lines": f"[issuers]\ndeny = [\n    # first\n    {OLD},\n    {OLD}, # [second]\n    # the end ]\n]\n# after\n",
    "no comma before a comment": f"[issuers]\ndeny = [\n  {OLD} # no comma ] here\n]\n",
    "brackets in text": '[issuers]\ndeny = [{ reason = "] [issuers] deny = [", spki_sha256 = "0]0" }]\n',
    "the word before": "# deny = [ ]\n[issuers]\nallow = [{ name = 'deny]', spki_sha256 = '11' }]\ndeny = [ ]\n",
    "array of tables": '[[issuers.deny]]\nreason = "old"\nspki_sha256 = "00"\n\n[ct]\nrequired = true\n',
    "array of tables below its table": '[issuers]\n[[issuers.deny]]\nreason = "old"\n',
    "dotted keys": f"issuers.deny = [{OLD}]\nct.required = true\n",
    "dotted keys without the list": "issuers.allow = [{ name = 'a', spki_sha256 = '11' }]\n",
    "an inline table": f"issuers = {{ deny = [{OLD}] }}\n",
    "quoted names": f'["issuers"]\n"deny" = [{OLD}]\n',
    "CRLF": f"[issuers]\r\ndeny = [\r\n    {OLD},\r\n]\r\n# end\r\n",
    "multi-line text": f'[a]\nb = """\n[issuers]\ndeny = []\n"""\n[issuers]\ndeny = [{OLD}]\n',
}


@pytest.mark.parametrize("text", FILES.values(), ids=FILES)
def test_entry_is_added_and_nothing_else(text):
    """However the file is written: one entry more at the end of the list, every line and comment still there."""
    edited = append_entries(text, "issuers", "deny", [NEW])
    before, after = tomllib.loads(text), tomllib.loads(edited)
    assert after["issuers"].pop("deny") == [*before.get("issuers", {}).pop("deny", []), NEW]
    assert {key: value for key, value in after.items() if value} == {
        key: value for key, value in before.items() if value
    }
    kept = iter(edited)
    assert all(character in kept for character in text if not character.isspace())  # in order
    assert edited.count("#") == text.count("#")


def test_line_ends_stay():
    """A file with CRLF has no bare LF afterwards."""
    edited = append_entries(FILES["CRLF"], "issuers", "deny", [NEW])
    assert edited.count("\n") == edited.count("\r\n")


def test_several_entries_stay_in_order():
    """A whole list can be added."""
    entries = [{"name": str(number), "spki_sha256": "0"} for number in range(3)]
    assert tomllib.loads(append_entries("", "issuers", "allow", entries))["issuers"]["allow"] == entries
    text = '[[issuers.allow]]\nname = "x"\n'
    edited = append_entries(text, "issuers", "allow", entries)
    assert tomllib.loads(edited)["issuers"]["allow"] == [{"name": "x"}, *entries]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[issuers", "not TOML"),
        ("issuers = 1", "is not a list in a table"),
        ("[issuers]\ndeny = 'no'", "is not a list in a table"),
        ("issuers = { allow = 1 }", "add this to the list by hand:\n    { reason"),
    ],
)
def test_file_that_cannot_be_edited_is_told(text, words):
    """No guess is made: the entry is shown for whoever edits by hand."""
    with pytest.raises(BadInput, match=words):
        append_entries(text, "issuers", "deny", [NEW])


@given(st.text(st.characters(exclude_categories=["Cs"])))
@settings(max_examples=200)
def test_any_text_is_written_so_that_it_reads_the_same(reason):
    """Quotes, controls, line ends, brackets: what is read is what was given."""
    entry = {"reason": reason}
    assert tomllib.loads(f"a = {inline_table(entry)}")["a"] == entry
    assert denied(append_entries("[issuers]\ndeny = []\n", "issuers", "deny", [entry])) == [entry]


@given(st.text(alphabet="[]{}=,.\"'# \nabdeny0issuers", max_size=60))
@settings(max_examples=300)
def test_any_file_is_edited_rightly_or_not_at_all(text):
    """Whatever the file: the old document with the entry added, or `BadInput`."""
    try:
        edited = append_entries(text, "issuers", "deny", [NEW])
    except BadInput:
        return
    before = tomllib.loads(text)
    before.setdefault("issuers", {}).setdefault("deny", []).append(NEW)
    assert tomllib.loads(edited) == before
