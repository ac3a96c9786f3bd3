"""App.addresses: names that the program itself needs, by its own verified upstreams."""

from ipaddress import ip_address

import pytest

from stubresolver.app import App
from stubresolver.cache import AnswerCache, CacheOptions
from stubresolver.config import Settings
from stubresolver.errors import ConnectFailed, UpstreamError
from stubresolver.lab.zone import LabZone
from stubresolver.portal import Portal
from stubresolver.resolve import Resolver, ResolverOptions


class Nobody:
    """An exchanger without an upstream."""

    def exchange_soon(self, _query, reply):
        reply(ConnectFailed("nobody is there"))


class OnlyA:
    """An exchanger that has no answer for AAAA."""

    def exchange_soon(self, query, reply):
        is_aaaa = b"\x03lab\x00\x00\x1c" in query
        reply(ConnectFailed("nobody is there") if is_aaaa else LabZone().answer(query))


def app_over(exchanger) -> App:
    app = App(Settings(upstreams=()), demands={})
    app._resolver = Resolver(exchanger, AnswerCache(CacheOptions()), ResolverOptions())
    return app


class Everything:
    """An exchanger that answers from the lab's zone."""

    def exchange_soon(self, query, reply):
        reply(LabZone().answer(query))


@pytest.mark.parametrize("name", ["example.lab", "www.example.lab", "Example.LAB."])
async def test_addresses_of_both_kinds_are_found(name) -> None:
    """A and AAAA, behind an alias too, IPv4 first."""
    app = app_over(Everything())
    async with app.asking():
        found = await app.addresses(name)
    assert found == [ip_address("192.0.2.1"), ip_address("192.0.2.2"), ip_address("2001:db8::1")]


async def test_one_kind_is_enough() -> None:
    """Where AAAA cannot be learnt, A is good enough; a name with neither has none."""
    assert [str(address) for address in await app_over(OnlyA()).addresses("example.lab")] == ["192.0.2.1", "192.0.2.2"]
    assert await app_over(Everything()).addresses("lab") == []


async def test_a_name_that_cannot_be_asked_or_answered_is_an_error() -> None:
    """Each failure is an upstream's error with its reason; nobody else is asked."""
    with pytest.raises(UpstreamError, match="no upstream has an answer: nobody is there"):
        await app_over(Nobody()).addresses("example.lab")
    with pytest.raises(UpstreamError, match="the name does not exist"):
        await app_over(Everything()).addresses("nowhere.example")
    with pytest.raises(UpstreamError, match="is no host name"):
        await app_over(Everything()).addresses("a..b")


async def test_nothing_of_our_own_is_asked_of_a_captive_portal(monkeypatch) -> None:
    """While one is open its server would see the name, and say where the program connects to."""
    app = app_over(Everything())
    async with app.asking():
        with monkeypatch.context() as patch:
            patch.setattr(Portal, "text", "PORTAL OPEN")
            with pytest.raises(UpstreamError, match="a portal is open, and that is for a person's names"):
                await app.addresses("example.lab")
        assert await app.addresses("example.lab")
