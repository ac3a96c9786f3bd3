"""Block lists: the table against a naive model, exceptions, precedence, what is answered."""

from array import array
from ipaddress import IPv4Address

import dns.rcode
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stubresolver.local import BlockLists, ListFile, LocalKnowledge, NameTable
from stubresolver.local.listfile import HASH
from stubresolver.local.names import zone_name

SECRET = b"secret"


def file(*lines: str, name: str = "list.txt") -> ListFile:
    content = ListFile(name, SECRET)
    content.feed("\n".join(lines).encode())
    content.close()
    return content


@pytest.fixture
def ask(query, read):
    """The reply with one list of these lines."""

    def ask(lines, name, kind="A", answer="nxdomain", allow=()):
        blocks = BlockLists.build([(file(*lines), answer)], [file(*allow)], SECRET)
        return read(LocalKnowledge(blocks=blocks).reply(query(name, kind)))

    return ask


@pytest.mark.parametrize(
    ("answer", "kind", "rcode", "records", "codes"),
    [
        ("nxdomain", "A", dns.rcode.NXDOMAIN, [], [17]),
        ("nodata", "A", dns.rcode.NOERROR, [], [17]),
        ("refused", "A", dns.rcode.REFUSED, [], [17]),
        ("zero", "A", dns.rcode.NOERROR, [f"{IPv4Address(0)}"], [17, 4]),
        ("zero", "AAAA", dns.rcode.NOERROR, ["::"], [17, 4]),
        ("zero", "HTTPS", dns.rcode.NOERROR, [], [17, 4]),
        ("nxdomain", "DS", dns.rcode.NXDOMAIN, [], [17]),
    ],
)
def test_answer_by_choice(ask, answer, kind, rcode, records, codes):
    """Each list answers in its own way and says which list it was; an answer that is forged says that, too."""
    reply = ask(["ads.example"], "www.ads.example", kind, answer)
    assert reply.rcode() == rcode
    assert [str(rdata) for rrset in reply.answer for rdata in rrset] == records
    assert [code for code, _ in reply.ede] == codes
    assert reply.ede[0][1] == "on the block list list.txt"
    if not records and answer != "refused":
        assert str(reply.authority[0].name) == "www.ads.example."
        assert reply.authority[0].ttl == reply.authority[0][0].minimum == 60


def test_name_that_is_not_listed_goes_upstream(ask):
    """Neither names above nor names beside a listed one are blocked."""
    for name in ("example", "bads.example", "ads.example.com", "."):
        assert ask(["ads.example"], name) is None


@pytest.mark.parametrize("rule", ["@@||ok.ads.example^", "@@||ads.example^", "@@||example^"])
def test_exception_frees_a_name_and_what_is_below(ask, rule):
    """An exception wins over every rule, longer or shorter."""
    assert ask(["||ads.example^", "||ok.ads.example^", rule], "a.ok.ads.example") is None
    assert (ask(["||ads.example^", rule], "no.ads.example") is None) == ("ok" not in rule)


def test_exception_of_the_name_alone(ask):
    """`@@|name^` frees that name and no other."""
    rules = ["||ads.example^", "@@|ads.example^"]
    assert ask(rules, "ads.example") is None
    assert ask(rules, "x.ads.example") is not None


def test_allow_list_frees_from_all_lists(ask):
    """A line of an allow list is an exception, in whatever syntax."""
    for line in ("ok.example", "||ok.example^", "@@||ok.example^", "0.0.0.0 ok.example"):
        assert ask(["example"], "ok.example", allow=[line]) is None
        assert ask(["example"], "other.example", allow=[line]) is not None


def test_what_is_not_blocked_here_is_not_looked_up_as_an_exception(ask):
    """An allow list alone blocks nothing."""
    assert ask([], "example", allow=["example"]) is None


def test_special_names_go_before_lists(ask):
    """What has no meaning in the public DNS needs no list to be kept here."""
    assert ask(["localhost", "test"], "localhost").answer
    assert [code for code, _ in ask(["test"], "x.test").ede] == [29]


def test_first_list_and_longest_name_hold():
    """Of lists with the same name the first answers; of a name's suffixes the longest that is listed."""
    lists = [(file("a.example", "b.a.example", name="one"), "nodata"), (file("a.example", name="two"), "refused")]
    lists.append((file("c.a.example", name="three"), "zero"))
    blocks = BlockLists.build(lists, [], SECRET)
    assert blocks.find(zone_name("x.a.example")) is blocks.replies[0]
    assert blocks.find(zone_name("x.c.a.example")) is blocks.replies[2]
    assert blocks.blocked.names == 3


def test_rule_that_covers_more_takes_the_place():
    """The name alone in one list and all below it in another: both are blocked, in either order."""
    exact, below = file("0.0.0.0 a.example", name="exact"), file("a.example", name="below")
    for lists in ([exact, below], [below, exact]):
        blocks = BlockLists.build([(one, "nodata") for one in lists], [], SECRET)
        assert blocks.find(zone_name("a.example"))
        assert blocks.find(zone_name("x.a.example"))


LABELS = st.sampled_from(["a", "b", "c", "dd"])
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(NAMES, st.booleans()), max_size=40), st.lists(NAMES, max_size=20))
def test_table_is_a_set_of_suffixes(rules, names):
    """The table finds what a set of names, looked up suffix by suffix, would find."""
    table = NameTable([file(*(name if below else f"0.0.0.0 {name}" for name, below in rules)).entries], SECRET)
    exact = {name for name, below in rules if not below}
    below = {name for name, below in rules if below}
    for name in names:
        suffixes = {".".join(name.split(".")[start:]) for start in range(name.count(".") + 1)}
        assert bool(table.find(zone_name(name))) == bool(name in exact or suffixes & below), name
    assert table.names == len(exact | below)


def test_names_that_fall_on_one_place_are_all_found():
    """Whoever could choose hashes would make a look-up slow, never wrong: the places are probed in turn."""
    names = [zone_name(f"n{number}.example") for number in range(300)]
    real = array("Q", [hash(name + SECRET) & HASH for name in names])
    crowd = array("Q", [(number << 32) | 0x100 for number in range(1, 300)])  # all meant for the second place
    table = NameTable([crowd, real], SECRET)
    assert all(table.find(name) == 2 for name in names)
    assert table.names == 599


def test_other_secret_finds_nothing():
    """A hash depends on the secret, which is made anew at every start."""
    table = NameTable([file("ads.example").entries], b"other")
    assert table.find(zone_name("ads.example")) == 0


def test_empty_table_finds_nothing():
    """A list of comments blocks nothing."""
    assert NameTable([], SECRET).find(zone_name("a.example")) == 0
    assert NameTable([], SECRET).find(b"\0") == 0
