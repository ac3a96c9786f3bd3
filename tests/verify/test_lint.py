"""Broken policy files say where and what to write; risky ones are read, and say what they cost."""

from hashlib import sha256
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubresolver.errors import ConfigError
from stubresolver.verify import Severity, lint, read_policy

SHIPPED = (resources.files("stubresolver") / "data/policy.toml").read_bytes()
KEY, OTHER = "ab" * 16 + "01" * 16, "cd" * 16 + "23" * 16
FINA = "7cc3d5728b38514b72adff9f18aa1758009bef624ffc3b2a9d8492d3488df6da"
ISRG = "0b9fa5a59eed715c26c1020c711b4f6ec42d58b0015e14337a39dad301c5afc3"


def own(key=KEY):
    return f"{{ name = 'x', spki_sha256 = '{key}' }}"


# the file, key, line, what is wrong, what to write
BROKEN = {
    "misspelt key": ("[ct]\nminimum_sct = 2", "ct.minimum_sct", 2, "unknown key", "write minimum_scts"),
    "key of another table": ("[tls]\n\nminimum_scts = 2", "tls.minimum_scts", 3, "unknown key", "into the table [ct]"),
    "key of no table": ("[tls]\nsni = false", "tls.sni", 2, "unknown key", "take it out; [tls] knows minimum_version"),
    "unknown key in an entry": (
        f"[issuers]\ndeny = [\n  {{ reason = 'r', spki_sha256 = '{KEY}', x = 1 }}]",
        "issuers.deny[0].x", 3, "unknown key", "take it out; an entry knows reason",
    ),
    "misspelt key in the second of an array of tables": (
        f"[[issuers.deny]]\nreason = 'r'\nspki_sha256 = '{KEY}'\n[[issuers.deny]]\nreason = 'r'\nspki = '{KEY}'",
        "issuers.deny[1].spki", 6, "unknown key", "take it out",
    ),
    "unknown table": ("# mine\n[dns]\nplain = true", "dns", 2, "unknown key", "the tables are policy, anchors"),
    "no table": ("off = true", "off", 1, "unknown key", "take it out; the tables are"),
    "key above its table": ("minimum_scts = 2\n[ct]", "minimum_scts", 1, "outside of its table", "write [ct] above it"),
    "number for a table": ("ct = 3", "ct", 1, "expected a table [ct], got 3", "write [ct] above its keys"),
    "list of tables": ("[[ct]]\nminimum_scts = 2", "ct", 1, "expected a table [ct], got a list", "write [ct]"),
    "text for a number": (
        "[ct]\nminimum_scts = '2'", "ct.minimum_scts", 2, 'got "2", expected a whole number from 1 to 16',
        "write minimum_scts = 2",
    ),
    "truth for a number": ("[ct]\nminimum_scts = true", "ct.minimum_scts", 2, "got true, expected a whole", "= 2"),
    "half an SCT": ("[ct]\nminimum_scts = 1.5", "ct.minimum_scts", 2, "got 1.5, expected a whole", "= 2"),
    "no SCT": ("[ct]\nminimum_scts = 0", "ct.minimum_scts", 2, "got 0, expected a whole", "= 2"),
    "no SCT for long lives": ("[ct]\nminimum_scts_long = 0", "ct.minimum_scts_long", 2, "got 0", "_long = 3"),
    "no operator": ("[ct]\nminimum_operators = 0", "ct.minimum_operators", 2, "got 0", "minimum_operators = 2"),
    "no current log": ("[ct]\nminimum_current = 0", "ct.minimum_current", 2, "got 0", "minimum_current = 1"),
    "negative": ("[ct]\nminimum_scts = -1", "ct.minimum_scts", 2, "got -1", "minimum_scts = 2"),
    "more than anybody has": ("[ct]\nminimum_scts = 17", "ct.minimum_scts", 2, "from 1 to 16", "minimum_scts = 2"),
    "a number of many digits": (
        "[ct]\nminimum_scts = 0x" + "f" * 9000, "ct.minimum_scts", 2, "got a number of many digits", "= 2",
    ),
    "a date": ("[ct]\nminimum_scts = 2026-11-02", "ct.minimum_scts", 2, "got a date or time", "= 2"),
    "too long a life": ("[ct]\nlong_lifetime_days = 399", "ct.long_lifetime_days", 2, "from 1 to 398", "= 180"),
    "too tolerant": (
        "[ct]\nfuture_tolerance_seconds = 3601", "ct.future_tolerance_seconds", 2, "from 0 to 3600", "= 300",
    ),
    "truth in quotes": ("[ct]\nrequired = 'no'", "ct.required", 2, 'got "no", expected true or false', "= true"),
    "fewer for a longer life": (
        "[ct]\nminimum_scts_long = 1", "ct.minimum_scts_long", 2, "at least ct.minimum_scts (2)", "_long = 2",
    ),
    "more operators than SCTs": (
        "[ct]\nminimum_operators = 3", "ct.minimum_operators", 2, "at most ct.minimum_scts (2)",
        "write minimum_operators = 2, or minimum_scts = 3 too",
    ),
    "more current than SCTs": (
        "[ct]\nminimum_current = 3", "ct.minimum_current", 2, "at most ct.minimum_scts (2)", "minimum_current = 2",
    ),
    "an unknown mode": (
        "[policy]\nmode = 'off'", "policy.mode", 2, 'got "off", expected "enforce" or "report"', 'mode = "enforce"',
    ),
    "an old TLS": (
        "[tls]\nminimum_version = 'TLSv1.1'", "tls.minimum_version", 2, 'got "TLSv1.1", expected "TLSv1.3"',
        'minimum_version = "TLSv1.3"',
    ),
    "a hybrid in TLS 1.2": (
        "[tls]\nminimum_version = 'TLSv1.2'\nrequire_post_quantum = true", "tls.minimum_version", 2,
        "contradicts tls.require_post_quantum", 'write minimum_version = "TLSv1.3", or',
    ),
    "no anchors": ("[anchors]\nsource = ''", "anchors.source", 2, 'got "", expected "certifi"', 'source = "certifi"'),
    "an unknown check": (
        "[revocation]\ncheck = 'always'", "revocation.check", 2, 'expected "off", "if-stapled" or "require-staple"',
        'check = "if-stapled"',
    ),
    "empty allow": ("[issuers]\nallow = []", "issuers.allow", 2, "got an empty list", "leave the key out"),
    "allow without key": (
        "[issuers]\nallow = [{ name = 'x' }]", "issuers.allow[0].spki_sha256", 2, "missing key", "sha256sum",
    ),
    "allow without name": (
        f"[issuers]\nallow = [{{ spki_sha256 = '{KEY}' }}]", "issuers.allow[0].name", 2, "missing key", "name = ",
    ),
    "bad hex": (
        f"[issuers]\nallow = [\n  {own()},\n  {own('zz')},\n]", "issuers.allow[1].spki_sha256", 4,
        'got "zz", expected 64 hex digits', "openssl x509",
    ),
    "hex with colons": (
        f"[issuers]\nallow = [{own('ab:' * 31 + 'ab')}]", "issuers.allow[0].spki_sha256", 2, "expected 64 hex digits",
        "openssl x509",
    ),
    "hex and a line break": (
        f"[issuers]\nallow = [{{ name = 'x', spki_sha256 = \"{KEY}\\n\" }}]", "issuers.allow[0].spki_sha256", 2,
        "expected 64 hex digits", "openssl x509",
    ),
    "only a denied issuer": (
        f"[issuers]\nallow = [{own(FINA)}]", "issuers.allow", 2, "would refuse everything", "name another key",
    ),
    "deny in two ways": (
        f"[issuers]\ndeny = [{{ reason = 'r', spki_sha256 = '{KEY}', certificate_sha256 = '{KEY}' }}]",
        "issuers.deny[0]", 2, "a denied entry names", "keep one of the three",
    ),
    "deny in no way": ("[issuers]\ndeny = [{ reason = 'r' }]", "issuers.deny[0]", 2, "a denied entry", "keep one"),
    "deny half a serial": (
        "[issuers]\ndeny = [{ reason = 'r', serial = '01' }]", "issuers.deny[0]", 2, "a denied entry names", "keep one",
    ),
    "a serial without quotes": (
        f"[[issuers.deny]]\nreason = 'r'\nissuer_spki_sha256 = '{KEY}'\nserial = 1234", "issuers.deny[0].serial", 4,
        "got 1234, expected 1 to 40 hex digits in quotes", "-serial",
    ),
    "deny without reason": (
        f"[issuers]\ndeny = [{{ spki_sha256 = '{KEY}' }}]", "issuers.deny[0].reason", 2, "missing key", "reason = ",
    ),
    "deny is no list": ("[issuers]\ndeny = 'fina'", "issuers.deny", 2, 'got "fina", expected a list', "deny = [{"),
    "an entry is no table": ("[issuers]\ndeny = ['fina']", "issuers.deny[0]", 2, 'got "fina", expected a table', ""),
    "one pin": (
        f"[pins]\nspki_sha256 = [{own()}]", "pins.spki_sha256", 2, "got 1 pinned key", "add the key that takes over",
    ),
    "one pin, twice": (
        f"[pins]\nspki_sha256 = [{own()}, {own(KEY.upper())}]", "pins.spki_sha256", 2, "2 different", "pin nothing",
    ),
    "not TOML": ("[ct\nminimum_scts = 2", "", 1, "not TOML: ", "write [table] above"),
    "text without quotes": ("[policy]\n\nmode = report", "", 3, "not TOML: ", 'text in "quotes"'),
    "a key twice": ("[ct]\nminimum_scts = 2\nminimum_scts = 1\n", "", 3, "not TOML: ", "stands there twice"),
    "not UTF-8": (b"[ct]\n# caf\xe9\n", "", 2, "not UTF-8 text (octet 10)", "save the file as UTF-8"),
    "a number without end": ("[ct]\nminimum_scts = " + "9" * 5000, "", None, "not TOML: a number", "write [table]"),
    "nested without end": ("x = " + "[" * 20_000, "", None, "not TOML: a number or a nesting", "write [table]"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "key", "line", "problem", "remedy"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_says_where_what_and_what_to_write(text, key, line, problem, remedy):
    """File, key, line, problem and remedy; nothing of such a file is taken over."""
    octets = text.encode() if isinstance(text, str) else text
    (found,) = lint(octets, "own.toml", SHIPPED)
    assert (found.severity, found.file, found.key, found.line) == (Severity.ERROR, "own.toml", key, line)
    assert problem in found.text
    assert remedy in found.remedy
    with pytest.raises(ConfigError) as caught:
        read_policy(SHIPPED, octets, "own.toml")
    assert (caught.value.file, caught.value.key) == ("own.toml", key)
    where = f"line {line}: " if line else ""
    assert caught.value.problem == f"{where}{found.text}; {found.remedy}"
    assert len(str(caught.value)) < 500


def test_no_message_speaks_of_types():
    """`int`, `str` and their like are the programmer's words."""
    for text, *_ in BROKEN.values():
        (found,) = lint(text.encode() if isinstance(text, str) else text, "own.toml", SHIPPED)
        assert "`int`" not in str(found)
        assert "regex" not in str(found)
        assert "object" not in str(found).lower()


def test_every_error_is_told_at_once():
    """One for each key that is wrong, in the order of the file."""
    text = "[tls]\nminimum_version = 1\n[ct]\nminimum_scts = 0\nminimum_operators = 0\n[dns]\na = 1\nb = 2\n"
    found = lint(text.encode(), "own.toml", SHIPPED)
    assert [(problem.key, problem.line) for problem in found] == [
        ("tls.minimum_version", 2), ("ct.minimum_scts", 4), ("ct.minimum_operators", 5), ("dns", 6),
    ]  # fmt: skip


def test_all_contradictions_are_told_at_once():
    """Where each key is right alone."""
    text = f"[ct]\nminimum_operators = 3\nminimum_current = 4\n[pins]\nspki_sha256 = [{own()}]\n"
    found = lint(text.encode(), "own.toml", SHIPPED)
    assert [problem.key for problem in found] == ["ct.minimum_operators", "ct.minimum_current", "pins.spki_sha256"]


MANY = ", ".join(own(f"{number:02x}" * 3 + KEY[6:]) for number in range(31))
PINS = f"[pins]\nspki_sha256 = [{own()}, {own(OTHER)}]"
RISKY = {
    "report mode": ("[policy]\nmode = 'report'", ["policy.mode"], "nobody is refused"),
    "the machine's store": ("[anchors]\nsource = 'system'", ["anchors.source"], "whoever administers it"),
    "TLS 1.2": ("[tls]\nminimum_version = 'TLSv1.2'", ["tls.minimum_version"], "shows the certificate"),
    "no CT": ("[ct]\nrequired = false", ["ct.required"], "no public log"),
    "no CT, with a number": ("[ct]\nrequired = false\nminimum_scts = 3", ["ct.required", "ct.minimum_scts"], "log"),
    "one SCT": (
        "[ct]\nminimum_scts = 1\nminimum_operators = 1", ["ct.minimum_scts", "ct.minimum_operators"], "one log alone",
    ),
    "one operator": ("[ct]\nminimum_operators = 1", ["ct.minimum_operators"], "one operator alone"),
    "two for a long life": ("[ct]\nminimum_scts_long = 2", ["ct.minimum_scts_long"], "less than Chrome's 3"),
    "long lives later": ("[ct]\nlong_lifetime_days = 398", ["ct.long_lifetime_days"], "more than Chrome's 180"),
    "stale and noted": ('[ct]\nwhen_stale = "report"', ["ct.when_stale"], "a log that was distrusted since counts"),
    "stale and cut off": ('[ct]\nwhen_stale = "refuse"', ["ct.when_stale"], "no upstream is used any more"),
    "tolerant": ("[ct]\nfuture_tolerance_seconds = 601", ["ct.future_tolerance_seconds"], "601 s ahead"),
    "31 issuers": (f"[issuers]\nallow = [{MANY}]", ["issuers.allow"], "31 keys"),
    "an issuer twice": (
        f"[issuers]\nallow = [{own()}, {own(OTHER)}, {own(KEY.upper())}]", ["issuers.allow[2]"],
        "says the same as issuers.allow[0]",
    ),
    "allowed and denied": (
        f"[issuers]\nallow = [{own()}, {own(FINA)}]", ["issuers.allow[1]"], "the denial wins: Fina RDC 2020",
    ),
    "zeros": (f"[issuers]\nallow = [{own('0' * 64)}]", ["issuers.allow[0].spki_sha256"], "looks like no hash"),
    "the hash of nothing": (
        f"[issuers]\nallow = [{own(sha256().hexdigest())}]", ["issuers.allow[0].spki_sha256"], "of no octets",
    ),
    "denied zeros": (
        f"[[issuers.deny]]\nreason = 'r'\nissuer_spki_sha256 = '{'0' * 64}'\nserial = '1'",
        ["issuers.deny[0].issuer_spki_sha256"], "looks like no hash",
    ),
    "denied by certificate": (
        f"[[issuers.deny]]\nreason = 'r'\ncertificate_sha256 = '{KEY}'", ["issuers.deny[0].certificate_sha256"],
        "can change its hash",
    ),
    "denied twice": (
        "[issuers]\ndeny = [\n{reason = 'r', issuer_spki_sha256 = 'KEY', serial = '0F'},\n"
        "{reason = 's', issuer_spki_sha256 = 'KEY', serial = 'f'}]".replace("KEY", KEY),
        ["issuers.deny[1]"], "says the same as issuers.deny[0]",
    ),
    "pins of nobody allowed": (PINS, ["pins.spki_sha256"], "none of these is the key of an allowed CA"),
    "report-only without pins": ("[pins]\nreport_only = true", ["pins.report_only"], "means nothing"),
    "staples unread": ("[revocation]\ncheck = 'off'", ["revocation.check"], "calls revoked"),
    "staples demanded": ("[revocation]\ncheck = 'require-staple'", ["revocation.check"], "ended their OCSP service"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "keys", "words"), RISKY.values(), ids=RISKY)
def test_a_risky_file_is_read_and_says_what_it_costs(text, keys, words):
    """A warning for each choice, with its line and a way out; the policy is one all the same."""
    found = lint(text.encode(), "own.toml", SHIPPED)
    assert [problem.key for problem in found] == keys
    assert {problem.severity for problem in found} == {Severity.WARNING}
    assert words in found[0].text
    assert all(problem.line and problem.remedy for problem in found)
    assert str(found[0]).startswith(f"own.toml:{found[0].line}: warning: {keys[0]}: ")
    read_policy(SHIPPED, text.encode(), "own.toml")


CLEAN = {
    "nothing": "",
    "a table without keys": "[ct]\n",
    "the shipped file": SHIPPED.decode(),
    "stricter": "[ct]\nminimum_scts = 3\nminimum_operators = 3\n[tls]\nrequire_post_quantum = true\n",
    "10 minutes": "[ct]\nfuture_tolerance_seconds = 600",
    "30 issuers": f"[issuers]\nallow = [{MANY.rpartition(', {')[0]}]",
    "a pinned CA": f"[pins]\nspki_sha256 = [{own()}, {own(ISRG)}]",
    "report-only pins": f"[pins]\nspki_sha256 = [{own()}, {own(ISRG)}]\nreport_only = true",
    "a shipped denial": f"[[issuers.deny]]\nreason = 'r'\nspki_sha256 = '{FINA}'",
    "a file of one's own": "[anchors]\nsource = 'roots.pem'",
}


@pytest.mark.parametrize("text", CLEAN.values(), ids=CLEAN)
def test_a_good_file_says_nothing(text):
    """Neither the shipped values nor stricter ones are worth a word."""
    assert lint(text.encode(), "own.toml", SHIPPED) == []


PIECES = st.sampled_from(
    ["[ct]", "[[issuers.deny]]", "[issuers]", "minimum_scts = 2", "minimum_scts = 'x'", "deny = []", "deny = [1, {}]",
     "reason = 'r'", f"spki_sha256 = '{KEY}'", "'a.b' = 1", "a.b.c = [[1], {x = 2}]", "# [x", '"` - at `$.ct" = 1',
     "x = '''\n[ct]'''", "[pins]", "spki_sha256 = [{}]", "[ct.x]", "required = false", "'' = 0"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=8).map("\n".join) | st.text(max_size=60))
def test_lint_and_read_agree_on_any_text(text):
    """An error here is an error there, each with a remedy; neither raises anything else."""
    octets = text.encode()
    found = lint(octets, "own.toml", SHIPPED)
    errors = [problem for problem in found if problem.severity is Severity.ERROR]
    assert all(problem.remedy for problem in found)
    try:
        read_policy(SHIPPED, octets, "own.toml")
    except ConfigError as error:
        assert error.key in {problem.key for problem in errors}  # noqa: PT017 - both outcomes are right
    else:
        assert errors == []
