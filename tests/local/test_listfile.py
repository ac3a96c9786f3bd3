"""Files that list names: three syntaxes, line by line, and what is skipped, counted or told."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stubresolver.local import BlockLists, ListFile
from stubresolver.local.names import zone_name

SECRET = b"0123456789abcdef"


def read(text: bytes, piece: int = 1 << 20) -> ListFile:
    content = ListFile("dir/list.txt", SECRET)
    for start in range(0, len(text), piece):
        content.feed(text[start : start + piece])
    content.close()
    return content


def blocks(text: bytes, name: str) -> bool:
    return BlockLists.build([(read(text), "nxdomain")], [], SECRET).find(zone_name(name)) is not None


@pytest.mark.parametrize(
    ("line", "names"),
    [
        (b"0.0.0.0 ads.example", "ads.example"),
        (b"127.0.0.1\tADS.example  # tracker", "ads.example"),
        (b":: ads.example", "ads.example"),
        (b"::1 ads.example\r", "ads.example"),
        (b"10.1.2.3 ads.example", "ads.example"),
        (b"  0.0.0.0 ads.example", "ads.example"),
        (b"0.0.0.0 ads.example two.example ", "ads.example two.example"),
        (b"|ads.example^", "ads.example"),
        (b"ads.example", "ads.example +"),
        (b"ads.example.", "ads.example +"),
        (b"Ads.Example \r", "ads.example +"),
        (b"ads.example # tracker", "ads.example +"),
        (b"*.ads.example", "ads.example +"),
        (b"||ads.example^", "ads.example +"),
        (b"||ads.example^$important", "ads.example +"),
        (b"||ads.example", "ads.example +"),
        (b"||ads.example^|", "ads.example +"),
        (b"||_a.xn--bcher-kva.example^", "_a.xn--bcher-kva.example +"),
    ],
)
def test_rule_blocks_what_its_syntax_says(line, names):
    """A hosts line is about its names alone; a domain and a `||` rule are about what is below it, too."""
    written, _, below = names.partition(" +")
    for name in written.split():
        assert blocks(line, name)
        assert blocks(line, f"www.{name}") == names.endswith("+")
        assert not blocks(line, f"x{name}")
    assert not blocks(line, "example")
    assert read(line).invalid == read(line).ignored == 0
    assert below == ""


@pytest.mark.parametrize(
    "line",
    [
        b"||ads.example^$third-party",
        b"||ads.example^$dnsrewrite=1.2.3.4",
        b"||ads.example^$denyallow=a.example",
        b"||ads*.example^",
        b"||ads.example/path^",
        b"||1.2.3.*^",
        b"/ads[0-9]+/",
        b"example.com##.banner",
        b"example.com#@#.banner",
        b"@@/regex/",
        b"@@||ads.example^$client=10.0.0.1",
        b"ads.*.example",
    ],
)
def test_rule_about_more_than_a_name_is_skipped_and_counted(line):
    """A rule that a resolver cannot keep is not kept in half."""
    content = read(line)
    assert (len(content.entries), len(content.exceptions), content.ignored, content.invalid) == (0, 0, 1, 0)
    assert list(content.problems) == [
        "dir/list.txt: 1 rules about more than a name are skipped (modifiers, paths, patterns)"
    ]


@pytest.mark.parametrize(
    "line",
    [
        b".",
        b"||^",
        b"0.0.0.0",
        b"1.2.3.4",
        b"||1.2.3.4^",
        b"a..b",
        b"a" * 64 + b".example",
        b".".join([b"a" * 50] * 6),
        "bücher.example".encode(),
        b"||b\xc3\xbccher.example^",
        b"two words",
        b"0.0.0.0 a..b",
        b"\x00\x01\x02\xff",
        b"http://ads.example/",
        b"a" * 5000,
    ],
)
def test_line_that_is_no_rule_is_told_with_its_number(line):
    """The root, addresses, names that are too long or not ASCII, and junk: told, and nothing is blocked by it."""
    content = read(b"good.example\n" + line + b"\nalso-good.example\n")
    assert len(content.entries) == 2
    if not content.ignored:
        (problem,) = content.problems
        assert problem.startswith("dir/list.txt:2: ")
        assert problem.isprintable()


@pytest.mark.parametrize(
    "line",
    [
        *(b"", b"# comment", b"! comment", b"[Adblock Plus 2.0]", b"   ", b"127.0.0.1 localhost", b"::1 ip6-localhost"),
        *(b"255.255.255.255 broadcasthost", b"0.0.0.0 0.0.0.0", b"fe80::1 localhost", b"127.0.0.1 localhost local"),
    ],
)
def test_what_says_nothing_is_passed_over(line):
    """Comments, and the lines that hosts files begin with."""
    content = read(line)
    assert (len(content.entries), list(content.problems)) == (0, [])


def test_whole_top_level_domain_is_told():
    """Who blocks all of com may mean it, and hears of it."""
    content = read(b"||com^\n*.zip\n")
    assert list(content.problems) == [
        "dir/list.txt:1: blocks every name below 'com'",
        "dir/list.txt:2: blocks every name below 'zip'",
    ]
    assert blocks(b"||com^", "example.com")


@pytest.mark.parametrize("line", [b"a..b", b"||com^"])
def test_what_is_told_is_bounded(line):
    """A million such lines are told in twenty."""
    content = read((line + b"\n") * 3000)
    assert len(list(content.problems)) <= 21


def test_a_million_lines_with_one_bad_one():
    """The one bad line is found by its number; here a smaller file, the same way."""
    text = b"".join(b"n%d.example\n" % number for number in range(5000))
    content = read(text + b"not a name\n" + text)
    assert len(content.entries) == 10_000
    assert list(content.problems) == ["dir/list.txt:5001: 'not a name' is no rule, expected a name in ASCII"]


def test_line_without_end_is_not_kept():
    """Of a file without a newline no more than a few thousand octets are held."""
    content = ListFile("f", SECRET)
    for _ in range(1000):
        content.feed(b"a" * 4096)
        assert len(content._rest) <= 4 * 4096
    content.feed(b"\ngood.example\n")
    content.close()
    assert len(content.entries) == 1
    assert content.invalid == 1


LINES = st.lists(
    st.one_of(
        st.binary(max_size=30),
        st.from_regex(rb"\A(\|\||@@\|\||0\.0\.0\.0 |\*\.)?[a-z]{1,8}\.(com|example)(\^|\$x)?\Z"),
    ),
    max_size=30,
)


@settings(max_examples=200, deadline=None)
@given(LINES, st.integers(1, 40))
def test_pieces_do_not_matter(lines, piece):
    """A file says the same in whatever pieces it is read, and no octets raise."""
    text = b"\n".join(lines)
    whole, pieces = read(text), read(text, piece)
    assert whole.entries == pieces.entries
    assert whole.exceptions == pieces.exceptions
    assert list(whole.problems) == list(pieces.problems)
