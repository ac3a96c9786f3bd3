"""The pinned list: what is right loads as it is written, what is half right does not load at all."""

import base64
import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from importlib import resources

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from stubresolver.ct import CURRENT_STATES, DENIED_LOGS, LogKind, LogList, LogState
from stubresolver.errors import LogListError
from stubresolver.lab.logs import LabLog, log_list_json

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
INTERVAL = (NOW, NOW + timedelta(days=180))
ALDER = LabLog("Alder", "Alder 1", interval=INTERVAL)
BIRCH = LabLog("Birch", "Birch 1", "static-ct", previous_operators=(("Ash", NOW - timedelta(days=9)),))
VALID = log_list_json([ALDER, BIRCH], now=NOW)


def document():
    """A list of two logs as its file says it, to be damaged."""
    return json.loads(VALID)


def first(written):
    return written["operators"][0]["logs"][0]


def parse(written, **arguments):
    return LogList.parse(json.dumps(written).encode(), **arguments)


def with_key(der):
    """The list whose first log has this key, under the right id."""
    written = document()
    entry = {"key": base64.b64encode(der).decode(), "log_id": base64.b64encode(sha256(der).digest()).decode()}
    first(written).update(entry)
    return written


def spki(key, point_format=None):
    if point_format is None:
        return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    point = key.public_key().public_bytes(Encoding.X962, point_format)
    algorithm = bytes.fromhex("301306072a8648ce3d020106082a8648ce3d030107")
    bits = b"\x03" + bytes((len(point) + 1,)) + b"\0" + point
    return b"\x30" + bytes((len(algorithm) + len(bits),)) + algorithm + bits


def test_a_list_loads_as_it_is_written():
    """Every field that judges is taken over from the schema; both kinds of log are one type."""
    found = LogList.parse(VALID)
    assert (found.version, found.timestamp, found.digest) == ("lab.1", NOW, sha256(VALID).hexdigest())
    assert found.octets == VALID
    assert list(found.logs) == [ALDER.log_id, BIRCH.log_id]
    alder, birch = found.logs.values()
    assert (alder.description, alder.operator, alder.kind, alder.state) == (
        "Alder 1", "Alder", LogKind.RFC6962, LogState.USABLE,
    )  # fmt: skip
    assert (alder.interval.start, alder.interval.end) == INTERVAL
    assert (birch.kind, birch.interval) == (LogKind.STATIC_CT, None)
    assert birch.previous_operators == (("Ash", NOW - timedelta(days=9)),)
    assert alder.key.public_numbers() == ALDER.key.public_key().public_numbers()


def test_the_shipped_list_loads_and_offers_no_denied_log():
    """What the package ships is a list of its own making, with enough operators to satisfy the policy it ships."""
    found = LogList.parse((resources.files("stubresolver") / "data/log_list.json").read_bytes())
    current = [log for log in found.logs.values() if log.state in CURRENT_STATES]
    assert not found.logs.keys() & DENIED_LOGS.keys()
    assert len({log.operator for log in current}) >= 5
    assert {log.kind for log in current} == set(LogKind)


def test_times_may_be_numbers_of_milliseconds():
    """Android's lists write times as integers; they mean the same."""
    written = document()
    written["log_list_timestamp"] = int(NOW.timestamp() * 1000)
    first(written)["temporal_interval"] = {
        "start_inclusive": int(INTERVAL[0].timestamp() * 1000),
        "end_exclusive": int(INTERVAL[1].timestamp() * 1000),
    }
    found = parse(written)
    assert found.timestamp == NOW
    assert (found.logs[ALDER.log_id].interval.start, found.logs[ALDER.log_id].interval.end) == INTERVAL


@pytest.mark.parametrize("state", LogState)
def test_each_state_is_known(state):
    """The six words of the schema, and no other, are states."""
    written = document()
    first(written)["state"] = {state.value: {"timestamp": "2026-01-01T00:00:00Z"}}
    assert parse(written).logs[ALDER.log_id].state is state


def test_no_state_is_pending_and_a_test_log_is_rejected():
    """A log that nobody has accepted, or that is for tests, is known and counts for nothing."""
    written = document()
    first(written)["state"] = {}
    assert parse(written).logs[ALDER.log_id].state is LogState.PENDING
    written = document()
    first(written)["log_type"] = "test"
    assert parse(written).logs[ALDER.log_id].state is LogState.REJECTED


def test_an_rsa_key_of_2048_bits_is_taken(rsa_key):
    """RFC 6962 s2.1.4 allows RSA of at least 2048 bits."""
    assert parse(with_key(spki(rsa_key))).logs[sha256(spki(rsa_key)).digest()].key == rsa_key.public_key()


BROKEN_KEYS = {
    "P-384": spki(ec.generate_private_key(ec.SECP384R1())),
    "Ed25519": spki(ed25519.Ed25519PrivateKey.generate()),
    "RSA of 1024 bits": spki(rsa.generate_private_key(public_exponent=65537, key_size=1024)),  # noqa: S505 - refused
    "DSA": spki(dsa.generate_private_key(1024)),  # noqa: S505 - refused
    "a compressed point": spki(ALDER.key, PublicFormat.CompressedPoint),
    "trailing octets": ALDER.public_key + b"\0",
    "nothing": b"",
    "junk": b"no key",
}


@pytest.mark.parametrize("der", BROKEN_KEYS.values(), ids=BROKEN_KEYS)
def test_another_key_is_refused_even_under_its_right_id(der):
    """RFC 6962 s2.1.4: P-256 or RSA of 2048 bits, in one encoding, so that a key cannot be two logs."""
    with pytest.raises(LogListError, match="'Alder 1'"):
        parse(with_key(der))


def test_the_encoding_of_the_tests_is_the_usual_one():
    """The compressed point above is refused for being compressed: the same writer's plain point loads."""
    assert spki(ALDER.key, PublicFormat.UncompressedPoint) == ALDER.public_key


def _set(path, value):
    def damage(written):
        *way, last = path
        for step in way:
            written = written[step]
        written[last] = value

    return damage


LOG = ("operators", 0, "logs", 0)
DAMAGES = {
    "id of another key": _set((*LOG, "log_id"), base64.b64encode(BIRCH.log_id).decode()),
    "id is not base64": _set((*LOG, "log_id"), "!"),
    "id is not ASCII": _set((*LOG, "log_id"), "é"),
    "key is not base64": _set((*LOG, "key"), "*" * 40),
    "key is no text": _set((*LOG, "key"), 7),
    "unknown state": _set((*LOG, "state"), {"trusted": {"timestamp": "2026-01-01T00:00:00Z"}}),
    "two states": _set(
        (*LOG, "state"),
        {"usable": {"timestamp": "2026-01-01T00:00:00Z"}, "retired": {"timestamp": "2026-02-01T00:00:00Z"}},
    ),
    "state without time": _set((*LOG, "state"), {"usable": {}}),
    "time without zone": _set(("log_list_timestamp",), "2026-01-01T00:00:00"),
    "time before the calendar": _set(("log_list_timestamp",), "0001-01-01T00:00:00+01:00"),
    "time after the calendar": _set(("log_list_timestamp",), 10**18),
    "time is no time": _set((*LOG, "temporal_interval", "end_exclusive"), "soon"),
    "an interval without anything in it": _set((*LOG, "temporal_interval", "end_exclusive"), "2020-01-01T00:00:00Z"),
    "half an interval": _set((*LOG, "temporal_interval"), {"start_inclusive": "2026-01-01T00:00:00Z"}),
    "operator without name": _set(("operators", 0, "name"), ""),
    "no operators": _set(("operators",), None),
    "listed twice": lambda written: written["operators"][0]["logs"].append(dict(first(written))),
    "listed under two operators": lambda written: written["operators"][1]["logs"].append(dict(first(written))),
    "listed as both kinds": lambda written: written["operators"][0]["tiled_logs"].append(dict(first(written))),
    "no log that counts": lambda written: written["operators"].clear(),
    "no timestamp": lambda written: written.pop("log_list_timestamp"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_list_that_is_half_right_does_not_load(damage):
    """One wrong entry refuses the whole list: a list that is half right is a list that somebody changed."""
    written = document()
    damage(written)
    with pytest.raises(LogListError):
        parse(written)


@pytest.mark.parametrize(
    "octets", [b"", b"{", b"[]", b"null", b"\xff", VALID + b"x", VALID[:-2], b'{"operators":[{"name":"\xff"}]}']
)
def test_octets_that_are_no_list_are_a_log_list_error(octets):
    """Nothing, halves, other documents and broken text end in LogListError."""
    with pytest.raises(LogListError):
        LogList.parse(octets)


def test_bottomless_nesting_is_a_log_list_error():
    """A document nested deeper than Python's stack is refused, in a field that nobody reads too."""
    with pytest.raises(LogListError):
        LogList.parse(VALID[:-2] + b',"unknown":' + b"[" * 100_000 + b"]" * 100_000 + b"}")


@given(st.binary(max_size=60), st.integers(0, len(VALID)), st.integers(0, 20))
def test_any_octets_give_a_list_or_a_log_list_error(patch, start, cut):
    """A valid list with any octets put in anywhere loads or is a LogListError, never anything else."""
    for octets in (patch, VALID[:start] + patch + VALID[start + cut :]):
        try:
            found = LogList.parse(octets)
        except LogListError:
            continue
        assert found.digest == sha256(octets).hexdigest()
        assert set(found.logs) <= {ALDER.log_id, BIRCH.log_id}


def test_the_denied_set_is_the_published_one():
    """The two mimics by the ids of their published keys, and the two placeholders."""
    assert {base64.b64encode(log_id).decode() for log_id in DENIED_LOGS} == {
        "9EGV1vAOLbVUNcrdV3iS5T4VrUFwWPh44U/2uRh0FYk=",
        "si9+3rWvav5QPeBAgbLXTBJThJL+3yyypSZQPO9TztI=",
        "LtakTeuPDIZGZ3acTt0EH4QjZ1X6OqymNNCTXfzVmnA=",
        "0vxlL6X5tzi4N1X6XrFfC0UlP06Po7m2T9TeVmLRhwg=",
    }


def test_the_compiled_in_set_is_the_default():
    """Whoever names no deny set has the compiled-in one."""
    assert LogList.parse(VALID).denied == DENIED_LOGS


@pytest.mark.parametrize("log_id", DENIED_LOGS, ids=lambda log_id: log_id.hex()[:8])
def test_a_list_with_a_denied_id_does_not_load(log_id):
    """Whatever key such an entry claims, the list that offers it is not to be trusted."""
    written = document()
    first(written)["log_id"] = base64.b64encode(log_id).decode()
    with pytest.raises(LogListError):
        parse(written)


@pytest.mark.parametrize("state", ["pending", "qualified", "usable", "readonly"])
def test_a_list_that_offers_a_denied_log_does_not_load(state):
    """A mimic under its own key and id, in any state that may come to count, refuses the list and says why."""
    written = document()
    first(written)["state"] = {state: {"timestamp": "2026-01-01T00:00:00Z"}}
    with pytest.raises(LogListError, match="its key is everybody's"):
        parse(written, also_denied={ALDER.log_id: "its key is everybody's"})


@pytest.mark.parametrize("state", ["retired", "rejected"])
def test_a_list_that_names_a_denied_log_as_gone_loads(state):
    """Real lists carry the placeholders as retired: harmless, because the id is denied wherever it stands."""
    written = document()
    first(written)["state"] = {state: {"timestamp": "2026-01-01T00:00:00Z"}}
    found = parse(written, also_denied={ALDER.log_id: "placeholder"})
    assert ALDER.log_id in found.denied


@pytest.mark.parametrize(("offset", "inside"), [(-1, False), (0, True), (179 * 86400, True), (180 * 86400, False)])
def test_an_interval_has_its_start_and_not_its_end(offset, inside):
    """start_inclusive, end_exclusive."""
    interval = LogList.parse(VALID).logs[ALDER.log_id].interval
    assert (NOW + timedelta(seconds=offset) in interval) is inside


@pytest.mark.parametrize(("days", "operator"), [(-400, "Ash"), (-10, "Ash"), (-9, "Birch"), (0, "Birch")])
def test_the_operator_is_the_one_of_the_time(days, operator):
    """A previous operator ran the log until its end_time, exclusive."""
    assert LogList.parse(VALID).logs[BIRCH.log_id].operator_at(NOW + timedelta(days=days)) == operator


def test_previous_operators_may_stand_in_any_order():
    """Whoever ran the log first is found first, however the list puts them."""
    terms = (("Beech", NOW - timedelta(days=10)), ("Ash", NOW - timedelta(days=100)))
    log = LogList.parse(log_list_json([LabLog("Elm", "Elm 1", previous_operators=terms)], now=NOW)).logs.popitem()[1]
    at = [log.operator_at(NOW - timedelta(days=days)) for days in (200, 100, 50, 10, 1)]
    assert at == ["Ash", "Beech", "Beech", "Elm", "Elm"]


@pytest.mark.parametrize(("seconds", "retired"), [(-1, False), (0, True), (1, True)])
def test_a_retirement_takes_effect_when_it_comes(seconds, retired):
    """A retirement that is only announced leaves the log current until then."""
    logs = [ALDER, LabLog("Cedar", "Cedar 1", state="retired", since=NOW)]
    log = list(LogList.parse(log_list_json(logs, now=NOW)).logs.values())[1]
    moment = NOW + timedelta(seconds=seconds)
    assert (log.is_retired(moment), log.is_current(moment)) == (retired, not retired)


@pytest.mark.parametrize("state", LogState)
def test_current_is_qualified_usable_or_readonly(state):
    """Chrome's ct_policy.md: these three states count as current, pending, retired and rejected do not."""
    logs = [BIRCH, LabLog("Cedar", "Cedar 1", state=state.value, since=NOW - timedelta(days=1))]
    log = next(log for log in LogList.parse(log_list_json(logs, now=NOW)).logs.values() if log.operator == "Cedar")
    assert log.is_current(NOW) is (state.value in {"qualified", "usable", "readonly"})


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (
            b'"state": {',
            b'"state": {"retired": {"timestamp": "2020-01-01T00:00:00Z"}}, "state": {',
            "'state' stands twice",
        ),
        (b'"version": ', b'"version": "x", "version": ', "'version' stands twice"),
        (b'"mmd": ', b'"previous_operators": [{"name": " ", "end_time": 0}], "mmd": ', "expected a printable name"),
        (b'"name": "Alder"', b'"name": "Al\\u001bder"', "expected a printable name"),
    ],
)
def test_two_readings_and_empty_names_are_refused(before, after, words):
    """A list means one thing to every reader (RFC 8259 s4), and names somebody."""
    assert VALID.count(before)
    with pytest.raises(LogListError, match=words):
        LogList.parse(VALID.replace(before, after, 1))


def test_a_name_that_stands_twice_among_very_many_is_found_in_linear_time():
    """Neither a list nor an exported file of somebody else's can hold us up by its number of names."""
    names = ", ".join(f'"{number}": 0' for number in range(200_000))
    with pytest.raises(LogListError, match="'7' stands twice"):
        LogList.parse(f'{{{names}, "7": 1}}'.encode())
