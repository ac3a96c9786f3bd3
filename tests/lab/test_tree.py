"""The lab's Merkle tree against the recursive definitions of RFC 6962 s2.1, and against published values."""

import functools
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from stubresolver.lab.tree import TILE_WIDTH, Tree

# The eight leaves and roots that certificate-transparency's Merkle tree tests have been held against since 2013.
LEAVES = [bytes.fromhex(text) for text in (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
)]  # fmt: skip
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]

sizes = st.integers(1, 600)


@functools.cache
def tree(size):
    found = Tree()
    found.grow(size)
    return found


def node(left, right):
    return sha256(b"\1" + left + right).digest()


def climb(leaf, index, size, path):
    """The root that an inclusion path leads to, by RFC 9162 s2.1.3.2."""
    digest, last = leaf, size - 1
    for step in path:
        assert last > 0, "a path longer than the tree is high"
        if index % 2 or index == last:
            digest = node(step, digest)
            while not index % 2 and index:
                index, last = index >> 1, last >> 1
        else:
            digest = node(digest, step)
        index, last = index >> 1, last >> 1
    assert last == 0, "a path shorter than the tree is high"
    return digest


def test_roots_are_the_published_ones():
    """RFC 6962 s2.1: the root of each prefix of the eight well-known leaves, and of no leaf at all."""
    found = Tree(LEAVES)
    assert [found.root(size).hex() for size in range(1, 9)] == ROOTS
    assert found.root(0) == sha256(b"").digest()


def test_inclusion_of_the_well_known_leaves():
    """RFC 6962 s2.1.1: the path of leaf 5 among 8, its siblings from the bottom up."""
    found = Tree(LEAVES)
    assert [step.hex()[:8] for step in found.inclusion(5, 8)] == ["bc1a0643", "ca854ea1", "d37ee418"]


@given(sizes, st.data())
def test_inclusion_leads_to_the_root(size, data):
    """RFC 6962 s2.1.1: PATH(m, D[n]) and the leaf give MTH(D[n]), for every leaf of every tree."""
    index = data.draw(st.integers(0, size - 1))
    found = tree(600)
    leaf = sha256(b"\0filler %d" % index).digest()
    assert climb(leaf, index, size, found.inclusion(index, size)) == found.root(size)


@given(sizes, sizes)
def test_consistency_holds_what_both_trees_have(first, second):
    """RFC 6962 s2.1.2: the proof's length is of a tree's height, and it is empty where nothing is to be proved."""
    first, second = sorted((first, second))
    proof = tree(600).consistency(first, second)
    assert (proof == []) == (first == second)
    assert len(proof) <= (second - 1).bit_length() + 1


def test_consistency_of_the_rfc_example():
    """RFC 6962 s2.1.3: the proof from 3 to 7 leaves is [c, d, g, l], from 4 to 7 [l], from 6 to 7 [i, j, k]."""
    found = Tree(LEAVES[:7])
    leaf = [sha256(b"\0" + octets).digest() for octets in LEAVES]
    g, h, j = node(leaf[0], leaf[1]), node(leaf[2], leaf[3]), leaf[6]
    i = node(leaf[4], leaf[5])
    k, right = node(g, h), node(i, j)
    assert found.consistency(3, 7) == [leaf[2], leaf[3], g, right]
    assert found.consistency(4, 7) == [right]
    assert found.consistency(6, 7) == [i, j, k]


@given(st.integers(1, 700))
def test_tiles_hold_the_hashes_of_their_level(size):
    """c2sp.org/tlog-tiles: level 0 is the leaves' hashes, level 1 the roots of each 256 of them, as far as complete."""
    found = tree(size)
    number, width = (size - 1) // TILE_WIDTH, (size - 1) % TILE_WIDTH + 1
    lowest = found.tile(0, number, width)
    assert lowest is not None
    assert lowest[-32:] == sha256(b"\0filler %d" % (size - 1)).digest()
    assert found.tile(0, number, width + 1) is None
    complete = size // TILE_WIDTH
    above = b"".join(root_of(found, number) for number in range(complete))
    assert found.tile(1, 0, complete or 1) == (above or None)


def root_of(found, number):
    """The root over one tile of leaves, from the leaves."""
    octets = found.tile(0, number, TILE_WIDTH)
    level = [octets[at : at + 32] for at in range(0, len(octets), 32)]
    while len(level) > 1:
        level = [node(*level[at : at + 2]) for at in range(0, len(level), 2)]
    return level[0]


def test_other_tree_differs_in_one_leaf_only():
    """A split view has the same size, another root, and the same hashes but for one leaf."""
    honest = tree(300)
    other = honest.with_other(7, b"other")
    assert (other.size, other.root(300) == honest.root(300)) == (300, False)
    mine, theirs = honest.tile(0, 0, 256), other.tile(0, 0, 256)
    assert [at for at in range(256) if mine[at * 32 : at * 32 + 32] != theirs[at * 32 : at * 32 + 32]] == [7]


def test_copy_grows_alone():
    """Where histories part, what one tree takes the other does not have."""
    honest = tree(10)
    other = honest.copy()
    other.append(b"mine")
    assert (honest.size, other.size) == (10, 11)
    assert honest.index_of(sha256(b"\0mine").digest(), 10) is None
    assert other.index_of(sha256(b"\0mine").digest(), 11) == 10
    assert other.index_of(sha256(b"\0mine").digest(), 10) is None
