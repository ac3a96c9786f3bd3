"""Four formats, one list: what is whole is read alike, and what is not is refused by its kind of trouble."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubresolver.ct import DENIED_LOGS, LogState
from stubresolver.errors import SourceRefused
from stubresolver.lab.logs import LabLog
from stubresolver.loglists import MAXIMUM_LIST, Format, read_list
from tests.loglists.formats import FORMATS, NOW, as_apple, as_mozilla, as_v3, as_v3_ms, b64, c_key, first_entry

RETIRED = NOW - timedelta(days=250)
SAMPLE = [LabLog("Alder", "Alder 'Elk2026' log"), LabLog("Birch", 'Birch "Fox"', "static-ct", "retired", RETIRED)]


def refused(octets: bytes) -> str:
    with pytest.raises(SourceRefused) as caught:
        read_list(octets)
    return str(caught.value)


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_says_the_same(name):
    """Key, operator, kind, state and the time of a retirement are those of the log, in whichever format."""
    found = read_list(FORMATS[name](SAMPLE))
    assert found.format == Format(name)
    assert set(found.logs) == {log.log_id for log in SAMPLE}
    for log in SAMPLE:
        read = found.logs[log.log_id]
        assert (read.description, read.operator, read.kind) == (log.description, log.operator, log.kind)
        assert read.state == log.state
        assert read.state_since == log.since
        assert read.key.public_numbers() == log.key.public_key().public_numbers()


def test_dates_of_lists():
    """v3 states a date, Mozilla's is ten weeks before it expires, Apple's has none: None, not a guess."""
    assert read_list(as_v3(SAMPLE)).timestamp == NOW
    assert read_list(as_v3_ms(SAMPLE)).timestamp == NOW
    assert read_list(as_mozilla(SAMPLE)).timestamp == NOW
    assert read_list(as_apple(SAMPLE)).timestamp is None
    assert read_list(as_apple(SAMPLE, NOW)).timestamp == NOW


def test_versions_of_lists():
    """Each format's own version, for people."""
    assert read_list(as_v3(SAMPLE)).version == "lab.1"
    assert read_list(as_apple(SAMPLE)).version == "4/32/1013"
    assert read_list(as_mozilla(SAMPLE)).version == "expires 2027-01-11"


def test_a_version_that_cannot_be_shown_is_refused():
    """It is printed for people: a control character in it is somebody's trick."""
    document = json.loads(as_v3(SAMPLE)) | {"version": "1\x1b[2J"}
    assert "expected a short printable text" in refused(json.dumps(document).encode())
    assert "expected a short printable text" in refused(json.dumps(document | {"version": "1" * 65}).encode())


def test_apple_states_may_lack_their_time():
    """A log usable since nobody knows when is usable; one retired at no date has always been."""
    document = json.loads(as_apple(SAMPLE))
    for operator in document["operators"]:
        for log in operator["logs"] + operator["tiled_logs"]:
            for state in log["state"].values():
                del state["timestamp"]
    elk, fox = (read_list(json.dumps(document).encode()).logs[log.log_id] for log in SAMPLE)
    assert (elk.state, elk.state_since) == (LogState.USABLE, None)
    assert (fox.state, fox.state_since) == (LogState.RETIRED, None)
    assert fox.is_retired(datetime(1990, 1, 1, tzinfo=UTC))


def test_apple_lists_of_schema_version_3_are_read():
    """The older layout: no version and no second asset version, operators without tiled logs."""
    document = json.loads(as_apple(SAMPLE[:1]))
    for key in ("version", "assetVersionV2"):
        del document[key]
    del document["operators"][0]["tiled_logs"]
    found = read_list(json.dumps(document).encode())
    assert (found.format, found.version, len(found.logs)) == (Format.APPLE, "32", 1)


def test_the_signed_lists_are_read(shared_data):
    """Real lists of three years and of a device, with what is known of them."""
    texts = sorted((shared_data / "loglists").glob("google_v3_*.json"))
    assert [len(read_list(path.read_bytes()).logs) for path in texts] == [35, 45, 75]
    assert {read_list(path.read_bytes()).format for path in texts} == {Format.V3}
    device = read_list((shared_data / "loglists/android_84.3_2026-02-15.json").read_bytes())
    assert (device.format, f"{device.timestamp:%Y-%m-%d}", len(device.logs)) == (Format.V3_MS, "2026-02-15", 56)


def test_an_empty_file_is_refused():
    """Nothing, or only spaces: not a list of no logs."""
    assert refused(b"") == refused(b" \n") == "an empty file, expected a log list"


def test_an_error_page_is_refused_as_one():
    """A server that answers 200 with a page: the page's first words are in the message."""
    assert refused(b"\n<!DOCTYPE html><title>502") == ("an HTML page, expected a log list: '<!DOCTYPE html><title>502'")


def test_a_problem_is_told_in_few_words():
    """It quotes the list, where a word may have a million characters."""
    document = json.loads(as_v3(SAMPLE))
    document["log_list_timestamp"] = "x" * 1_000_000
    assert refused(json.dumps(document).encode()) == f"log_list_timestamp: '{'x' * 479}…"


def test_too_large_is_refused_before_anything_is_read():
    """One octet over the limit, of whatever; at the limit it is read."""
    assert refused(b"{" * (MAXIMUM_LIST + 1)).startswith(f"too large: {MAXIMUM_LIST + 1} octets")
    assert not refused(b"{" * MAXIMUM_LIST).startswith("too large")


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (b"\xff\xfe{}", "octet 0 is not UTF-8"),
        (b"log list", "it begins with 'log list'"),
        (b"# stubresolver\n\nCTKnownLogs.h is read.\n", "Mozilla's CTKnownLogs.h; it begins with '# stubresolver"),
        (b"/* CTKnownLogs_h */\n#include <list>\n", "neither JSON nor Mozilla's CTKnownLogs.h"),
        (b"[]", "it begins with '[]'"),
        (b'{"a": 1,}', "not JSON: "),
        (b'{"a": NaN}', "NaN is no JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not a log list"),
        (b'{"a": ' + b"[" * 100_000, "nested too deeply"),
        (b'{"assetVersion": 1, "operators": ' + b"[" * 900 + b"]" * 900 + b"}", "log list"),
        (b"{}", "not a log list in the v3 schema"),
        (b'{"assetVersion": 1}', "not a log list in the v3 schema"),
        (b'{"operators": {}, "log_list_timestamp": 0}', "not a log list in the v3 schema"),
    ],
)
def test_what_is_no_list_is_refused_by_name(octets, words):
    """Each kind of trouble has its own words."""
    assert words in refused(octets)


@pytest.mark.parametrize("name", FORMATS)
@given(data=st.data())
def test_a_truncated_list_is_never_accepted(name, data):
    """Cut off anywhere before its last character, a list is refused; in text it is mostly called truncated."""
    whole = FORMATS[name](SAMPLE).rstrip()
    length = data.draw(st.integers(0, len(whole) - 1))
    refused(whole[:length])


@pytest.mark.parametrize("name", FORMATS)
def test_a_truncated_list_is_called_truncated(name):
    """In the middle of a key, a string or between two entries."""
    whole = FORMATS[name](SAMPLE)
    for length in (len(whole) // 3, len(whole) // 2, len(whole) - 20):
        assert refused(whole[:length]).startswith("truncated: ")


@pytest.mark.parametrize("name", FORMATS)
def test_the_smallest_truncations_of_a_real_tail(name):
    """Every length within the last 300 characters, one by one."""
    whole = FORMATS[name](SAMPLE).rstrip()
    for length in range(len(whole) - 300, len(whole)):
        refused(whole[:length])


@given(st.binary(max_size=200))
def test_any_octets_are_read_or_refused(octets):
    """Nothing but `SourceRefused` comes out, whatever goes in."""
    for prefix in (b"", b'{"assetVersion":', b"/*", b"#ifndef CTKnownLogs_h\n"):
        refused(prefix + octets)


@pytest.mark.parametrize("name", FORMATS)
@given(data=st.data())
def test_a_damaged_list_is_read_or_refused(name, data):
    """One octet changed anywhere: what is still read has no log with a key that is not its id."""
    whole = bytearray(FORMATS[name](SAMPLE))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] = data.draw(st.integers(0, 255))
    try:
        found = read_list(bytes(whole))
    except SourceRefused:
        return
    assert all(log.log_id == log_id for log_id, log in found.logs.items())


# The key of a log that is denied, as lists of 2026 have it, retired: the placeholder for libraries that misbehave.
DENIED_KEY = base64.b64decode(
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEj4lCAxWCY6SzIthkqZhwiUVzcK62i6Fc+/YS0WHaN6jjO1ITUFuu8beOiU9PdeNmdalZcC3iWovAfApv"
    "XS33Nw=="
)


def with_key(octets: bytes, key: bytes) -> bytes:
    """The list with another key for its first log, and the id of that key."""
    first = SAMPLE[0]
    octets = octets.replace(c_key(first.public_key).encode(), c_key(key).encode())
    octets = octets.replace(b"     91}", b"     %d}" % len(key), 1)
    octets = octets.replace(b64(first.public_key).encode(), b64(key).encode())
    return octets.replace(b64(first.log_id).encode(), b64(sha256(key).digest()).encode())


@pytest.mark.parametrize("name", FORMATS)
def test_a_list_that_offers_a_denied_log_is_refused(name):
    """In no format may a log count whose key is not its operator's secret."""
    octets = with_key(FORMATS[name](SAMPLE), DENIED_KEY)
    assert "which must never count (placeholder log, not real)" in refused(octets)


@pytest.mark.parametrize("name", FORMATS)
def test_a_list_may_name_a_denied_log_as_retired(name):
    """So real lists do; it counts for nothing by the deny set."""
    logs = [replace(SAMPLE[0], state="retired"), LabLog("Cedar", "Cedar 1")]
    found = read_list(with_key(FORMATS[name](logs), DENIED_KEY))
    assert found.logs.keys() & DENIED_LOGS.keys() == {sha256(DENIED_KEY).digest()}


@pytest.mark.parametrize("name", FORMATS)
def test_a_denied_key_in_another_encoding_is_refused(name):
    """The same point compressed would be another id, and the same key."""
    algorithm, point = DENIED_KEY[2:23], DENIED_KEY[26:]
    bits = b"\x03\x22\0" + bytes((2 + point[64] % 2,)) + point[1:33]
    octets = with_key(FORMATS[name](SAMPLE), b"\x30" + bytes((len(algorithm) + len(bits),)) + algorithm + bits)
    assert "its key is not in the usual encoding" in refused(octets)


@pytest.mark.parametrize("name", FORMATS)
def test_keys_that_are_not_their_ids_are_refused(name):
    """Two logs with one key, and in JSON a key under another's id."""
    twice = [SAMPLE[0], replace(SAMPLE[0], description="Alder again"), SAMPLE[1]]
    assert "is listed twice" in refused(FORMATS[name](twice))
    if name != "mozilla":
        whole = FORMATS[name](SAMPLE).replace(b64(SAMPLE[0].log_id).encode(), b64(SAMPLE[1].log_id[::-1]).encode())
        assert "is not the SHA-256 of its key" in refused(whole)


@pytest.mark.parametrize("name", ["v3", "v3-ms", "apple"])
def test_a_name_that_stands_twice_is_refused(name):
    """Two readers of one object could see two states."""
    whole = FORMATS[name](SAMPLE).replace(b'"state":', b'"state": {}, "state":', 1)
    assert refused(whole) == "not a log list: the name 'state' stands twice in an object"


def test_a_name_that_stands_twice_is_found_in_time():
    """Hundreds of thousands of names, the last of them twice: found in one walk."""
    names = ",".join(f'"{number}":1' for number in range(300_000))
    assert "'7' stands twice" in refused(f'{{{names},"7":1}}'.encode())


@pytest.mark.parametrize("name", FORMATS)
def test_a_list_in_which_nothing_counts_is_refused(name):
    """All retired: no list to go by."""
    assert refused(FORMATS[name](SAMPLE[1:])) == "the list has no qualified, usable or readonly log"


def test_an_unknown_state_is_refused():
    """A word of tomorrow's schema is not guessed at."""
    document = json.loads(as_v3(SAMPLE))
    first_entry(document)["state"] = {"beloved": {"timestamp": "2026-01-01T00:00:00Z"}}
    assert "state 'beloved', expected one of" in refused(json.dumps(document).encode())
