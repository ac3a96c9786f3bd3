"""Clients get the descriptors that upstreams do not need, and too few for both is said before anything is served."""

import resource
from dataclasses import replace

import pytest

from stubresolver.cli.descriptors import share_descriptors
from stubresolver.config import load_settings
from stubresolver.errors import CannotListen


@pytest.fixture
def limit(monkeypatch):
    """The process' limits as they are told and set."""
    limits = {}

    def set_limits(_, pair):
        if limits.get("fixed"):
            raise ValueError("not allowed to raise maximum limit")
        limits["now"] = pair

    monkeypatch.setattr("resource.getrlimit", lambda _: limits["now"])
    monkeypatch.setattr("resource.setrlimit", set_limits)
    return limits


@pytest.fixture
def settings(files):
    return load_settings(files.config)


def ours(settings):
    return 44 + 3 * len(settings.all_upstreams) + 2 * len(settings.addresses)


def test_enough_is_left_as_it_is(limit, settings):
    """Nothing is raised that suffices, nothing said."""
    limit["now"] = (1024, 4096)
    shared = share_descriptors(settings)
    assert (shared.settings, shared.warning, limit["now"]) == (settings, "", (1024, 4096))


@pytest.mark.parametrize("hard", [4096, resource.RLIM_INFINITY])
def test_the_limit_is_raised_as_far_as_it_is_needed(limit, settings, hard):
    """The soft limit is ours to raise (getrlimit(2)); where a sandbox forbids that, clients get less."""
    limit["now"] = (100, hard)
    assert share_descriptors(settings).warning == ""
    assert limit["now"] == (ours(settings) + 128, hard)
    limit.update(now=(100, hard), fixed=True)
    assert share_descriptors(settings).settings.listen.tcp_clients == 100 - ours(settings)


def test_clients_do_not_get_what_upstreams_need(limit, settings):
    """Said in words, with who can change it."""
    limit["now"] = (90, 90)
    shared = share_descriptors(settings)
    places = 90 - ours(settings)
    assert shared.settings.listen.tcp_clients == places
    assert shared.settings == replace(settings, listen=shared.settings.listen)
    assert shared.warning.startswith(
        f"{places} TCP clients at once instead of 128 ([listen] tcp_clients), as this process"
    )


def test_without_a_limit_there_is_nothing_to_share(limit, settings):
    """RLIM_INFINITY is no number."""
    limit["now"] = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    assert share_descriptors(settings).warning == ""


def test_too_few_are_an_error_in_words(limit, settings):
    """With what was found and what was expected."""
    limit["now"] = (30, 30)
    with pytest.raises(
        CannotListen, match=f"may open 30 files and sockets at once, expected at least {ours(settings) + 4}"
    ):
        share_descriptors(settings)
