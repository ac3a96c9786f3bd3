"""The kept corpus and mutations of it: nothing that a stranger writes escapes a parser, and no invariant breaks."""

import random

import pytest

from tests.fuzz.mutation import mutations
from tests.fuzz.targets import CORPUS, TARGETS

_RUNS = 20_000
_SLOW = {"doh": 5_000}  # h2 takes a third of a millisecond


@pytest.fixture(params=TARGETS, ids=lambda target: target.name)
def target(request):
    """Each parser."""
    return request.param


def test_corpus(target):
    """Every input that is kept, those that once broke something among them, is read or refused as documented."""
    for octets in (*target.corpus(), *target.found()):
        target.check(octets)


def test_mutations(target):
    """So is every mutation of them; the same ones each time, so that a failure can be repeated."""
    for octets in mutations(target.corpus(), 20261122, _SLOW.get(target.name, _RUNS)):
        try:
            target.check(octets)
        except Exception as error:
            raise AssertionError(f"{target.name}: {octets.hex()}") from error


def test_every_corpus_has_a_parser():
    """No file of the corpus is forgotten."""
    assert {file.stem for file in CORPUS.iterdir()} == {target.name for target in TARGETS}


def test_mutations_repeat():
    """A seed says everything about its mutations, whatever else uses randomness."""
    seeds = [b"example", bytes(40)]
    first = list(mutations(seeds, 5, 200))
    random.seed(1)
    assert list(mutations(seeds, 5, 200)) == first
    assert len(set(first)) > 150
    assert list(mutations(seeds, 6, 200)) != first
