"""Why no upstream can be used: told from what every upstream's last dial came to, and never too early."""

import itertools
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubresolver.lab.world import NAME, World
from stubresolver.upstream.diagnosis import Kind, diagnose
from stubresolver.upstream.report import BlockedTransport, PoolStatistics, UpstreamStatistics
from stubresolver.verify import Presented, TlsFacts, Verifier

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
TLS = TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384", "X25519MLKEM768", "dot", openssl_error=None)


@pytest.fixture(scope="module")
def world():
    """Authorities and logs for all."""
    return World(NOW)


@pytest.fixture(scope="module")
def judge(world):
    """The verdict on a credential shown by 127.0.0.1, by the policy of the world."""

    def made(now=NOW, **issued):
        chain = world.issue(**issued).chain
        return Verifier(world.policy, world.log_list).judge(Presented(ip_address("127.0.0.1"), NAME, chain, TLS), now)

    return made


def line(state="paused", error="", kind="", *, verdict=None, failures=1, transport="tls"):
    return UpstreamStatistics(
        upstream="tls://192.0.2.1#dns.lab",
        policy="",
        state=state,
        verdict=verdict,
        tls=None,
        outstanding=0,
        connections=0,
        would_refuse=0,
        asked=0,
        answered=0,
        last_error=error,
        paused_for=0,
        transport=transport,
        failures_in_row=failures,
        last_error_kind=kind,
    )


UNTRIED = line("idle", failures=0)
STANDS = line("open", failures=0)
UNREACHED = line(error="tls://x: no TCP connection within 3 s", kind="ConnectFailed")
RESET = line(error="tls://x: connection reset by peer during the TLS handshake", kind="HandshakeFailed")
HTTP = line(error="tls://x: TLS handshake failed: wrong version number", kind="HandshakeFailed")
SERVFAIL = line(error="tls://x: it takes queries and answers none", kind="ChannelClosed")


def refused(verdict):
    assert not verdict.allowed
    return line(error=verdict.summary, kind="PolicyRefused", verdict=verdict)


def kind_of(*lines, **surroundings):
    return diagnose(PoolStatistics(lines), **surroundings).kind


def test_where_one_stands_all_is_fine():
    """One connection is enough, whatever the others came to."""
    assert kind_of(UNREACHED, STANDS, HTTP) is Kind.FINE
    assert diagnose(PoolStatistics((STANDS,))).text == ""
    assert diagnose(PoolStatistics((STANDS,))).usable


def test_nothing_has_failed_yet():
    """At the start and after a move nobody is accused."""
    assert kind_of(UNTRIED, UNTRIED) is Kind.CONNECTING
    assert kind_of() is Kind.CONNECTING


def test_no_network():
    """No way to any upstream is no fault of the upstreams."""
    assert kind_of(UNREACHED, UNREACHED, reachable=False) is Kind.NO_NETWORK
    assert kind_of(UNREACHED, reachable=None) is Kind.UNREACHABLE
    assert kind_of(UNREACHED, reachable=True) is Kind.UNREACHABLE
    off = line(error="tls://x: network is unreachable", kind="ConnectFailed")
    assert kind_of(off, off) is Kind.NO_NETWORK, "a command that watches no network"
    assert kind_of(off, off, reachable=True) is Kind.UNREACHABLE
    assert kind_of(off, UNREACHED) is Kind.UNREACHABLE, "half a network is one"
    assert kind_of(off, UNTRIED) is Kind.UNREACHABLE


def test_a_clock_that_must_be_wrong_comes_first(judge):
    """While the clock is behind its floor every judgement refuses: its words are the diagnosis, even if one stands."""
    for lines in ([STANDS], [UNREACHED], [HTTP], []):
        found = diagnose(PoolStatistics(tuple(lines)), "the clock says 2019")
        assert (found.kind, found.text) == (Kind.CLOCK_WRONG, "the clock says 2019")


def test_a_clock_that_is_years_ahead(judge):
    """All certificates have ended by it, and nothing else is wrong: the clock is doubted, with what it says."""
    ended = refused(judge(now=NOW + timedelta(days=3000)))
    found = diagnose(PoolStatistics((ended, UNREACHED, ended)))
    assert found.kind is Kind.CLOCK_WRONG
    assert "2035-01-19 12:00Z" in found.text
    assert "ahead" in found.text


def test_a_clock_that_makes_the_log_list_stale(judge):
    """A clock some months ahead ends the log list before the certificates."""
    stale = refused(judge(now=NOW + timedelta(days=75)))
    assert [str(finding.rule) for finding in stale.verdict.failures] == ["ct.list-age"]
    assert kind_of(stale, stale) is Kind.CLOCK_WRONG


def test_a_clock_that_is_behind_but_not_behind_the_floor(judge):
    """Certificates that are not valid yet, all of them."""
    early = refused(judge(now=NOW - timedelta(days=3)))
    found = diagnose(PoolStatistics((early, early)))
    assert found.kind is Kind.CLOCK_WRONG
    assert "behind" in found.text


def test_one_certificate_that_has_ended_is_not_the_clock(judge):
    """If another upstream is refused for something else, or is no TLS, the clock is not accused."""
    ended = refused(judge(now=NOW + timedelta(days=3000)))
    assert kind_of(ended, refused(judge(logs=()))) is Kind.REFUSED
    assert kind_of(ended, HTTP) is not Kind.CLOCK_WRONG


def test_a_strangers_certificate_that_has_ended_is_not_the_clock(judge, world):
    """Who is no CA cannot make anybody set the clock."""
    now = NOW + timedelta(days=3000)
    assert kind_of(refused(judge(now=now, authority=world.stranger))) is Kind.INTERCEPTED


@pytest.mark.parametrize(
    "shown",
    [
        {"names": ["login.hotel.example"], "addresses": ()},
        {"names": ["login.hotel.example"], "addresses": (), "own": True},
    ],
)
def test_a_login_page(judge, world, shown):
    """All that answer show somebody else's certificate, of a CA or of nobody: a login page, with the ways in."""
    own = shown.pop("own", False)
    stranger = refused(judge(**shown, **({"authority": world.stranger} if own else {})))
    for lines in ([stranger], [stranger, UNREACHED, RESET], [HTTP, stranger]):
        found = diagnose(PoolStatistics(tuple(lines)), reachable=True)
        assert found.kind is Kind.CAPTIVE_PORTAL
        assert "login.hotel.example" in found.text
        assert found.told.endswith("sudo stubresolver portal --for 3m")


def test_plain_http_where_tls_should_be():
    """An answer that is no TLS at all is a login page's doing, too."""
    found = diagnose(PoolStatistics((HTTP, UNREACHED)))
    assert found.kind is Kind.CAPTIVE_PORTAL
    assert "browser" in found.way_out


def test_a_login_page_is_not_suspected_where_an_upstream_is_itself(judge):
    """One upstream that answers as itself says that it is not the network."""
    stranger = refused(judge(names=["login.hotel.example"], addresses=()))
    assert kind_of(stranger, refused(judge(logs=()))) is Kind.REFUSED
    assert kind_of(stranger, SERVFAIL) is Kind.REFUSED
    assert kind_of(stranger, STANDS) is Kind.FINE


def test_an_inspecting_proxy_is_named(judge, world):
    """Certificates in the upstreams' own names by a CA that is no anchor: interception, and who does it."""
    forged = refused(judge(authority=world.stranger))
    found = diagnose(PoolStatistics((forged, forged, UNREACHED)))
    assert found.kind is Kind.INTERCEPTED
    assert "Stranger CA" in found.text
    assert "portal" not in found.told


def test_what_a_stranger_wrote_is_short(judge, world):
    """A certificate's own words take no more room than a line has, and no control character comes through."""
    name = "x" * 60 + "." + "y" * 60
    stranger = refused(judge(names=[name], addresses=(), common_name="a\x1b[31m\n" + "b" * 50))
    text = diagnose(PoolStatistics((stranger,))).text
    assert len(text) < 250
    assert text.isprintable()


def test_a_certificate_that_a_trusted_ca_should_not_have_issued_is_a_refusal(judge, world):
    """The gravest case is never explained away as a login page: another CA issued for our upstream."""
    found = diagnose(PoolStatistics((refused(judge(authority=world.finish)), UNREACHED)))
    assert (found.kind, found.text) == (Kind.REFUSED, "no upstream meets the policy")


def test_resets_alone_prove_nothing():
    """Connections that are broken off may be a login page or a filter: both are said."""
    found = diagnose(PoolStatistics((RESET, UNREACHED)))
    assert found.kind is Kind.UNREACHABLE
    assert "if the network has a login page" in found.way_out
    unreached = diagnose(PoolStatistics((UNREACHED, line(kind="ConnectFailed", transport="https"))))
    assert "if the network has a login page" in unreached.way_out


def test_only_dns_over_tls_is_configured():
    """A network that drops port 853 looks dead to who knows nothing else: the way out is named."""
    assert "port 853" in diagnose(PoolStatistics((UNREACHED, UNREACHED))).told
    assert "port 853" not in diagnose(PoolStatistics((UNREACHED, line(kind="ConnectFailed", transport="https")))).told


def test_a_blocked_port_is_worth_a_word():
    """DNS over HTTPS serves where DNS over TLS is blocked: usable, and told."""
    blocked = (BlockedTransport("", "tls", here=True, again_in=600),)
    found = diagnose(PoolStatistics((UNREACHED, STANDS), blocked))
    assert found.kind is Kind.PORT_BLOCKED
    assert found.usable
    elsewhere = (BlockedTransport("", "tls", here=False, again_in=600),)
    assert diagnose(PoolStatistics((UNREACHED, STANDS), elsewhere)).kind is Kind.FINE


def test_what_takes_queries_and_answers_none():
    """A connection that came about and brought nothing is quoted."""
    found = diagnose(PoolStatistics((SERVFAIL,)))
    assert found.kind is Kind.UNREACHABLE
    assert "answers none" in found.text


def test_what_a_peer_said_is_one_printable_line():
    """An error that quotes a peer's octets cannot add a line to the log, nor a word to the service manager."""
    found = diagnose(PoolStatistics((line(error="x\nREADY=0\x1b[2J" + "y" * 500, kind="ProtocolViolation"),)))
    assert found.text.isprintable()
    assert len(found.text) < 200


def test_a_refusal_without_findings_is_one(judge):
    """A judgement that was lost does not raise."""
    assert kind_of(line(kind="PolicyRefused")) is Kind.UNREACHABLE


_LINES = [UNTRIED, STANDS, UNREACHED, RESET, HTTP, SERVFAIL, line(kind="PolicyRefused"), line(kind="Anything")]


@given(
    st.lists(st.sampled_from(_LINES), max_size=4),
    st.sampled_from(["", "the clock is wrong"]),
    st.sampled_from([True, False, None]),
)
def test_every_combination_has_words(lines, clock, reachable):
    """Whatever came together: fine exactly where one stands and the clock is right, one printable line otherwise."""
    found = diagnose(PoolStatistics(tuple(lines)), clock, reachable)
    stands = any(each.state == "open" for each in lines)
    assert (found.kind is Kind.FINE) == (stands and not clock)
    assert bool(found.text) == (found.kind not in (Kind.FINE, Kind.CONNECTING))
    assert found.told.isprintable()
    told = found.kind not in (Kind.FINE, Kind.CONNECTING, Kind.PORT_BLOCKED)
    assert bool(found.way_out) == (told and found.kind is not Kind.CLOCK_WRONG), "the clock's text says it itself"


def test_the_order_of_upstreams_does_not_matter(judge):
    """What is true of all is true in any order."""
    lines = [refused(judge(names=["login.hotel.example"], addresses=())), HTTP, RESET, UNTRIED]
    assert {kind_of(*order) for order in itertools.permutations(lines)} == {Kind.CAPTIVE_PORTAL}
