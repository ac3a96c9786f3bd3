"""What a source is asked before it is listened to: size, signature, date, and how much it still holds."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from stubresolver.errors import SourceRefused
from stubresolver.lab.logs import LabLog
from stubresolver.loglists import MAXIMUM_LIST, load_key, merge, origin_of
from tests.loglists.formats import FORMATS, NOW, YEAR, as_apple, as_v3, pinned, source

KEYS = [ed25519.Ed25519PrivateKey.from_private_bytes(bytes((number,)) * 32) for number in range(3)]
DAY = timedelta(days=1)


def public(key, name="ours"):
    return load_key(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), name)


def refused(*arguments, **keywords):
    with pytest.raises(SourceRefused) as caught:
        source(*arguments, **keywords)
    return str(caught.value)


@pytest.mark.parametrize("name", FORMATS)
def test_a_good_source_is_taken_as_it_is(name, logs, current):
    """Unsigned: nothing vouches for it."""
    found = source("https://Lists.example/now", FORMATS[name](logs), current)
    assert (found.origin, found.format, found.vouched, found.key) == ("lists.example", name, "", "")
    assert set(found.logs) == {log.log_id for log in logs}


def test_a_signed_source_is_vouched_for_by_its_key(logs, current):
    """By whichever of the configured keys signed it."""
    octets = as_v3(logs)
    found = source("a", octets, current, signature=KEYS[1].sign(octets), keys=[public(KEYS[0]), public(KEYS[1], "b")])
    assert (found.vouched, found.key) == ("b", public(KEYS[1]).fingerprint)


def test_a_signature_without_a_date_vouches_for_nothing(logs):
    """It says who, not when: the signed list of a year ago would make a log count that was retired since."""
    retired = [replace(logs[0], state="retired", since=NOW - 20 * DAY), *logs[1:]]
    current, old = pinned(retired, NOW - 7 * DAY), as_apple(logs)
    replayed = source("https://apple.example/a", old, current, signature=KEYS[0].sign(old), keys=[public(KEYS[0])])
    assert (replayed.vouched, replayed.key) == ("", public(KEYS[0]).fingerprint)
    result = merge(current, [replayed], now=NOW)
    assert not result.changes
    assert [item.wanted for item in result.withheld] == ["to be usable 2020-01-01T00:00:00Z"]
    assert "its signature vouches for nothing alone" in result.notes[1]
    dated = as_apple(logs, NOW)
    assert source("a", dated, current, signature=KEYS[0].sign(dated), keys=[public(KEYS[0])]).vouched == "ours"


def test_the_shipped_list_is_vouched_for(logs, current):
    """It came with the program: who forges it forges the program."""
    assert source("a", as_v3(logs), current, shipped=True).vouched == "shipped"


def test_a_wrong_signature_refuses_a_list_that_would_do_without(logs, current):
    """A signature that is there must be right, or somebody changed something."""
    octets = as_v3(logs)
    assert refused("a", octets, current, signature=KEYS[0].sign(octets + b" "), keys=[public(KEYS[0])]).startswith(
        "mis-signed: the signature is not that of ours"
    )
    signature = KEYS[2].sign(octets)
    keys = [public(KEYS[0], "one"), public(KEYS[1], "two")]
    assert refused("a", octets, current, signature=signature, keys=keys) == "mis-signed: by none of one, two"


def test_a_signature_without_a_key_is_refused(logs, current):
    """Whoever hands over a signature expects it to be checked."""
    assert refused("a", as_v3(logs), current, signature=b"x") == "a signature, but no key to hold it against"


def test_a_missing_signature_only_takes_the_voucher(logs, current):
    """Keys are configured, this source has no signature: it counts for the quorum."""
    assert source("a", as_v3(logs), current, keys=[public(KEYS[0])]).vouched == ""


def test_the_signature_is_checked_before_the_list_is_read(current):
    """What nobody signed is not parsed where a signature says it is."""
    assert refused("a", b"{", current, signature=b"x", keys=[public(KEYS[0])]).startswith("mis-signed")


def test_too_large_is_refused(current):
    """200 MB never get here, and would not get further."""
    assert refused("a", bytes(MAXIMUM_LIST + 1), current).startswith("too large: ")


def test_an_older_list_is_refused(logs, current):
    """A rollback, by a second; the same date is none."""
    assert refused("a", as_v3(logs, current.timestamp - timedelta(seconds=1)), current) == (
        "older than the list in force: of 2026-10-26T11:59:59Z, expected 2026-10-26T12:00:00Z or later"
    )
    assert source("a", as_v3(logs, current.timestamp), current).timestamp == current.timestamp


def test_a_list_dated_in_the_future_names_both_clocks(logs, current):
    """A day ahead is a time zone; more is a wrong date or a wrong clock."""
    now = NOW
    assert source("a", as_v3(logs, now + DAY), current, now=now)
    message = refused("a", as_v3(logs, now + DAY + timedelta(seconds=1)), current, now=now)
    assert message.startswith("dated in the future: 2026-11-03T12:00:01Z, while it is 2026-11-02T12:00:00Z here")
    assert "the list's date or this machine's clock" in message


def test_force_takes_no_older_and_no_future_list(logs, current):
    """It is for a list that shrank, and nothing else."""
    assert refused("a", as_v3(logs, NOW - 8 * DAY), current, force=True).startswith("older")
    assert refused("a", as_v3(logs, NOW + 8 * DAY), current, force=True).startswith("dated in the future")


def test_an_undated_list_cannot_be_older(logs, current):
    """Apple's has no date; `merge` says so to a person."""
    assert source("a", as_apple(logs), current).timestamp is None


@pytest.mark.parametrize("name", FORMATS)
def test_a_shrunk_list_is_refused(name, logs, current):
    """Six of nine is two thirds; five is not. What it offers instead makes nothing good."""
    others = [LabLog("Dogwood", f"Dogwood {number}") for number in range(9)]
    assert source("a", FORMATS[name](logs[:6] + others), current)
    message = refused("a", FORMATS[name](logs[:5] + others), current)
    assert message.startswith("shrunk: 5 of the 9 logs that count today would still count")
    assert source("a", FORMATS[name](logs[:5]), current, force=True)


def test_a_list_that_retires_most_has_shrunk(logs, current):
    """Listed is not counted."""
    retired = [replace(log, state="retired", since=NOW - DAY) for log in logs[:4]]
    assert refused("a", as_v3(retired + logs[4:]), current).startswith("shrunk: 5 of the 9")


@pytest.mark.parametrize(
    "less",
    [
        {"state": "retired", "since": NOW + 2 * DAY},
        {"interval": (YEAR[0], NOW + 2 * DAY)},
        {"interval": (NOW + 2 * DAY, YEAR[1])},
        {"interval": (YEAR[0], YEAR[0] + DAY)},
    ],
    ids=["retired from tomorrow on", "ends soon", "begins later", "is over"],
)
def test_what_will_count_less_has_shrunk(less, logs, current):
    """A list that takes all of them away by and by takes them away; a third of them may go."""

    def lessened(number):
        return as_v3([replace(log, **less) for log in logs[:number]] + logs[number:])

    assert refused("a", lessened(8), current).startswith("shrunk: 1 of the 9")
    assert refused("a", lessened(4), current).startswith("shrunk: 5 of the 9")
    assert source("a", lessened(3), current)


def test_a_first_interval_is_no_loss(logs):
    """Where none is known yet, as of a list made from Mozilla's; a past that is cut off is no loss either."""
    unlimited = pinned([replace(log, interval=None) for log in logs], NOW - DAY)
    assert source("a", as_v3(logs), unlimited)
    assert source(
        "a", as_v3([replace(log, interval=(NOW - 30 * DAY, YEAR[1])) for log in logs]), pinned(logs, NOW - DAY)
    )


def test_logs_that_are_over_are_no_loss(logs):
    """A log takes no certificates after its interval: lists drop it, and nothing is lost."""
    over = [LabLog("Alder", f"over {number}", interval=(YEAR[0] - 365 * DAY, YEAR[0])) for number in range(9)]
    assert source("a", as_v3(logs), pinned(logs + over, NOW - DAY))


@pytest.mark.parametrize(
    ("where", "origin"),
    [
        ("https://Example.COM/list.json", "example.com"),
        ("https://example.com:8443/other", "example.com"),
        ("https://user@example.com./x", "example.com"),
        ("https://[2001:db8::1]:8443/x", "2001:db8::1"),
        ("https://[2001:DB8:0::0:1]/x", "2001:db8::1"),
        ("https://[::ffff:192.0.2.1]/x", "192.0.2.1"),
        ("https://192.0.2.1/x", "192.0.2.1"),
        ("https://[broken/x", "https://[broken/x"),
        ("/etc/lists/one.json", "/etc/lists/one.json"),
    ],
)
def test_origins(where, origin):
    """One host is one origin, whatever its port and path; a file is its path."""
    assert origin_of(where) == origin


def test_the_digest_is_of_what_a_list_says(logs, current):
    """Spaces, order and the way times are written change nothing; another date or log does."""
    one = source("a", as_v3(logs), current)
    spaced = json.dumps(json.loads(as_v3(logs)), indent=7).encode()
    assert source("b", spaced, current).digest == one.digest
    assert source("b", as_v3(list(reversed(logs))), current).digest == one.digest
    assert source("b", FORMATS["v3-ms"](logs), current).digest == one.digest
    assert source("b", as_v3(logs, NOW - DAY), current).digest != one.digest
    assert source("b", as_v3(logs[1:]), current).digest != one.digest
