"""CTKnownLogs.h: the one layout that is known is read, and whatever is not understood refuses the file."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubresolver.errors import SourceRefused
from stubresolver.lab.logs import LabLog
from stubresolver.loglists import MAXIMUM_LIST, read_list
from tests.loglists.formats import as_mozilla, c_log

ALDER, BIRCH = LabLog("Alder", "Alder 1"), LabLog("Birch", "Birch 1", "static-ct")
WHOLE = as_mozilla([ALDER, BIRCH]).decode()

# A file in the layout of the real one, written by hand: comments, line breaks, debug entries where they stand there.
BY_HAND = """/* -*- Mode: C++ -*- */
/* made by hand */

#ifndef CTKnownLogs_h
#define CTKnownLogs_h

#include "CTLog.h"
#include "prtime.h"

#include <stddef.h>

static const PRTime kCTExpirationTime = INT64_C(1797797183000000);

namespace mozilla::ct {

enum class CTLogState {
  Admissible,  // Qualified, Usable, or ReadOnly
  Retired,
};

enum class CTLogFormat {
  RFC6962,
  Tiled,
};

struct CTLogInfo {
  // a bug number
  const char* name;
  CTLogState state;
  CTLogFormat format;
  uint64_t timestamp;
  // Index within kCTLogOperatorList.
  size_t operatorIndex;
  const char* key;
  size_t keyLength;
};

struct CTLogOperatorInfo {
  const char* name;
  mozilla::ct::CTLogOperatorId id;
};

const CTLogInfo kCTLogList[] = {
    {"Google 'Argon2026h2' log", CTLogState::Admissible, CTLogFormat::RFC6962,
     1727734767000,  // 2024-09-30T22:19:27Z
     0,              // operated by Google
     "\\x30\\x59\\x30\\x13\\x06\\x07\\x2a\\x86\\x48\\xce\\x3d\\x02\\x01\\x06\\x08\\x2a\\x86\\x48"
     "\\xce\\x3d\\x03\\x01\\x07\\x03\\x42\\x00\\x04\\x2a\\x3a\\x67\\x8b\\xfe\\xba\\x0c\\x86\\x2b"
     "\\x4a\\x51\\x8a\\xe9\\x17\\xfe\\x7b\\xa1\\x76\\x73\\xfd\\xbc\\x65\\x4b\\xc3\\x27\\xbf\\x4d"
     "\\xf3\\x5f\\xa0\\xca\\x29\\x80\\x11\\x20\\x32\\x78\\xd6\\x7e\\xf9\\x34\\x60\\x8c\\x75\\xa0"
     "\\xf5\\x35\\x50\\x9c\\xa1\\xd3\\x49\\x4d\\x13\\xd5\\x3b\\x6a\\x0e\\xea\\x45\\x9d\\x24\\x13"
     "\\x22",
     91},
#ifdef DEBUG
    {"A test log", CTLogState::Retired, CTLogFormat::Tiled,
     1750853366000,  // 2025-06-25T12:09:26Z
     1,              // operated by nobody
     "\\x01\\x02",
     2},
#endif  // DEBUG
};

const CTLogOperatorInfo kCTLogOperatorList[] = {
    {"Google", 0},
#ifdef DEBUG
    {"A test organisation", 1},
#endif  // DEBUG
};

}  // namespace mozilla::ct

#endif  // CTKnownLogs_h
"""


def refused(text: str) -> str:
    with pytest.raises(SourceRefused) as caught:
        read_list(text.encode())
    return str(caught.value)


def test_a_file_in_the_real_layout_is_read():
    """One log of the release; entries for debug builds are none. Its date is ten weeks before it expires."""
    found = read_list(BY_HAND.encode())
    (log,) = found.logs.values()
    assert log.log_id.hex().startswith("d76d7d10d1a7f577c2c7e95fd700bff9")
    assert (log.description, log.operator, log.kind, log.state) == (
        "Google 'Argon2026h2' log", "Google", "rfc6962", "usable",
    )  # fmt: skip
    assert f"{log.state_since:%Y-%m-%dT%H:%M:%S}" == "2024-09-30T22:19:27"
    assert (f"{found.timestamp:%Y-%m-%d}", found.version) == ("2026-10-11", "expires 2026-12-20")


def test_spaces_and_comments_mean_nothing():
    """As to a compiler; so does a comma after the last entry."""
    assert read_list(WHOLE.replace("     ", " /* x\n y */ ").encode()).logs == read_list(WHOLE.encode()).logs
    assert read_list(WHOLE.replace("91},\n}", "91}}").encode()).logs == read_list(WHOLE.encode()).logs


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Retired,\n", "Retired,\n  Beloved,\n"),  # a third state
        ("  Admissible,  // what counts\n  Retired,\n", "  Retired,\n  Admissible,\n"),  # the numbers change places
        ("  RFC6962,\n  Tiled,\n", "  RFC6962,\n"),
        (
            "CTLogState state;\n  CTLogFormat format;",
            "CTLogFormat format;\n  CTLogState state;",
        ),  # the order of entries
        ("  size_t keyLength;\n", "  size_t keyLength;\n  bool maybe;\n"),
        ("  size_t keyLength;\n", ""),
        ("CTLogState::Admissible", "CTLogState::Perhaps"),
        ("CTLogFormat::Tiled", "CTLogFormat::Other"),
        ("const CTLogInfo kCTLogList[]", "const CTLogInfo kCTOtherList[]"),
        ("namespace mozilla::ct {", "namespace other {"),
        ("INT64_C(", "UINT64_C("),
        ('{"Birch", 1}', '{"Birch", 2}'),  # the id is not its place
        ('{"Birch", 1},\n', ""),  # an operator index beyond the array
        ("     91},\n", "     90},\n"),  # the length is not that of the key
        ("     91},\n", "     0x5b},\n"),
        ("     91},\n", "     91, 1},\n"),
        ("     91},\n", "     91}}\n"),
        ('"Alder 1"', '"Alder \\x31"'),  # an escape in a name
        ('"Alder 1"', 'R"(Alder 1)"'),
        ('"Alder 1"', 'u8"Alder 1"'),
        ('     "\\x30', '     "\\60'),
        ('     "\\x30', '     "0'),  # a character in a key
        ('     "\\x30', '     "\\X30'),
        ("     0,  //", "     00,  //"),  # octal
        ("     0,  //", "     0u,  //"),
        ("     0,  //", "     1-1,  //"),
        ("     0,  //", "     ,  //"),
        ("#endif  // CTKnownLogs_h", "#endif"),
        ("#endif  // CTKnownLogs_h", "#endif  // CTKnownLogs_h\n}"),
        ("#ifndef CTKnownLogs_h", "#if 0"),
        ("#define CTKnownLogs_h", "#define CTKnownLogs_h\n#define Retired Admissible"),
        ("#include <stddef.h>", "#include <stddef.h>\n#define x"),
        ("const CTLogInfo kCTLogList[] = {\n", "const CTLogInfo kCTLogList[] = {\n#ifdef RELEASE\n"),
        ("const CTLogInfo kCTLogList[] = {\n", "const CTLogInfo kCTLogList[] = {\n#ifndef DEBUG\n"),
        ("const CTLogInfo kCTLogList[] = {\n", "const CTLogInfo kCTLogList[] = {\n#endif  // DEBUG\n"),
        ("const CTLogInfo kCTLogList[] = {\n", "const CTLogInfo kCTLogList[] = {\n#ifdef DEBUG\n"),  # never closed
        ("const CTLogInfo kCTLogList[] = {\n", "const CTLogInfo kCTLogList[] = { #ifdef DEBUG\n"),
        ("// what counts", "// what counts \\"),  # C would read on: the next line is part of the comment
        ("// what counts", "/* what counts"),
        ("\n\n}  // namespace", "\nint x;\n}  // namespace"),
        ("static const PRTime", "const PRTime"),
    ],
)
def test_what_is_not_understood_refuses_the_file(old, new):
    """A skipped word could be the one that matters to a compiler."""
    changed = WHOLE.replace(old, new, 1)
    assert changed != WHOLE
    assert refused(changed)


def test_the_message_names_the_line():
    """Line, what was got and what was expected."""
    line = WHOLE[: WHOLE.index("CTLogState::Admissible")].count("\n") + 1
    assert refused(WHOLE.replace("CTLogState::Admissible", "Admissible", 1)) == (
        f"CTKnownLogs.h, line {line}: got 'Admissible', expected CTLogState::Admissible or CTLogState::Retired"
    )


def test_an_expiry_that_is_no_time_is_refused():
    """Before the first list could have been made, or beyond the calendar."""
    for number in ("0", "1", "9" * 20):
        start, end = WHOLE.index("INT64_C(") + 8, WHOLE.index(");\n\nnamespace")
        assert "not a time at which a list can expire" in refused(WHOLE[:start] + number + WHOLE[end:])


def test_debug_entries_are_read_and_left_out():
    """Whatever they offer is not offered; but they must be entries."""
    block = "#ifdef DEBUG\n" + c_log(LabLog("Birch", "only in debug builds"), 1) + "#endif  // DEBUG\n"
    with_block = as_mozilla([ALDER, BIRCH], debug=block)
    assert read_list(with_block).logs == read_list(WHOLE.encode()).logs
    assert refused(with_block.decode().replace("only in debug builds", "only \\t in debug builds"))


def test_a_debug_operator_must_not_move_the_others():
    """A release has no such operator: the indices behind it would name others than in the file."""
    moved = WHOLE.replace('    {"Alder", 0},\n', '#ifdef DEBUG\n    {"Alder", 0},\n#endif  // DEBUG\n')
    assert "indices would differ" in refused(moved)


HOSTILE = {
    "comments": "/**/" * 250_000,
    "an open comment": "/*" * 2_000_000,
    "fields": WHOLE[: WHOLE.index("  const char* name;")] + "a " * 250_000,
    "strings": WHOLE[: WHOLE.index("    {")] + "{" + '"" ' * 250_000,
    "an open string": WHOLE[: WHOLE.index("    {")] + '{"' + '\\"' * 2_000_000,
    "a long key": WHOLE[: WHOLE.index('     "\\x')] + '"' + "\\x30" * 500_000 + "!",
    "a long number": WHOLE[: WHOLE.index("     0,  //")] + "1" * 4_000_000,
    "a long word": WHOLE[: WHOLE.index("    {")] + "a::" * 1_000_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_headers_are_refused_in_time(text):
    """Time grows with the size, not with its square: each of these would take hours else."""
    assert refused(text[:MAXIMUM_LIST])


@given(st.lists(st.sampled_from(["/*", "*/", '"', "\\", "\n", "#", "{", "}", ",", "//", "a", "0", "::"]), max_size=40))
def test_any_tokens_are_read_or_refused(tokens):
    """In the middle of the array, whatever stands there."""
    place = WHOLE.index("    {")
    text = WHOLE[:place] + "".join(tokens) + WHOLE[place:]
    try:
        found = read_list(text.encode())
    except SourceRefused:
        return
    assert found.logs == read_list(WHOLE.encode()).logs
