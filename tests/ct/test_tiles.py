"""Tiles: their names are the specification's, and the proofs made of them are the definition's."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stubresolver.ct import (
    ProofError,
    Tile,
    consistency_path,
    consistency_tiles,
    inclusion_path,
    inclusion_tiles,
    leaf_at,
    verify_consistency,
    verify_inclusion,
)
from tests.ct.naive import NaiveTree

TREE = NaiveTree.random(70_000)  # the size of the specification's example: three levels of tiles
SIZES = (
    st.integers(1, 10_000) | st.integers(1, TREE.size) | st.sampled_from([255, 256, 257, 512, 65_535, 65_536, 65_537])
)


def served(tiles):
    """What an honest log serves for these tiles."""
    return {tile: tile.check(TREE.tile(tile.level, tile.number, tile.width)) for tile in tiles}


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 1234067, 256), "tile/0/x001/x234/067"),
        (Tile(0, 0, 256), "tile/0/000"),
        (Tile(1, 999, 1), "tile/1/999.p/1"),
        (Tile(2, 1000, 255), "tile/2/x001/000.p/255"),
        (Tile(5, 999_999, 256), "tile/5/x999/999"),
        (Tile(3, 1_000_000, 17), "tile/3/x001/x000/000.p/17"),
    ],
)
def test_where_a_tile_is_served(tile, path):
    """static-ct-api, "Merkle Tree": three digits an element, x before all but the last, .p/<W> for a partial tile."""
    assert tile.path == path
    assert tile.full.path == path.partition(".p/")[0]


def test_the_tree_of_70000_of_the_specification():
    """Its partial tiles have "width 112", "width 17" and "width 1"; the last leaf's proof is made of these."""
    assert inclusion_tiles(69_999, 70_000) == {Tile(0, 273, 112), Tile(1, 1, 17), Tile(2, 0, 1)}
    assert inclusion_tiles(0, 70_000) == {Tile(0, 0, 256), Tile(1, 0, 256), Tile(1, 1, 17), Tile(0, 273, 112)}


def test_a_tree_of_256_is_one_full_tile():
    """static-ct-api: "a tree of size 256 will be represented by a full level 0 tile" and one of width 1 above it."""
    assert inclusion_tiles(7, 256) == {Tile(0, 0, 256)}
    assert inclusion_tiles(7, 257) == {Tile(0, 0, 256), Tile(0, 1, 1)}
    assert consistency_tiles(256, 512) == {Tile(1, 0, 2)}


@settings(max_examples=300)
@given(SIZES, st.integers(0))
def test_proofs_from_tiles_are_the_definitions(size, place):
    """Paths made of tiles are PATH and PROOF of RFC 6962, hash for hash, and they hold."""
    index = place % size
    tiles = served(inclusion_tiles(index, size))
    path = inclusion_path(index, size, tiles)
    assert path == TREE.path(index, size)
    verify_inclusion(leaf_at(index, size, tiles), index, size, path, TREE.root(size))
    first = index + 1
    path = consistency_path(first, size, served(consistency_tiles(first, size)))
    assert path == TREE.proof(first, size)
    verify_consistency(first, size, TREE.root(first), TREE.root(size), path)


@given(st.integers(1, 2**63 - 1), st.integers(0))
def test_a_proof_needs_few_tiles_in_any_tree(size, place):
    """Two tiles a level at most, each as wide as the tree of that size makes it: a log cannot make us ask for more."""
    index = place % size
    for tiles in (inclusion_tiles(index, size), consistency_tiles(index + 1, size)):
        assert len(tiles) <= 16
        for tile in tiles:
            assert tile.width == min(256, size // 256**tile.level - 256 * tile.number)
            assert 1 <= tile.width <= 256
            assert tile.level <= 7


@settings(max_examples=100)
@given(st.integers(1, 10_000), st.integers(0), st.data())
def test_a_damaged_tile_never_proves(size, place, data):
    """One bit of one tile: either the proof does not use it, or it leads nowhere."""
    index = place % size
    tiles = served(inclusion_tiles(index, size))
    tile = data.draw(st.sampled_from(sorted(tiles)))
    bit = data.draw(st.integers(0, tile.width * 256 - 1))
    whole = tiles[tile]
    tiles[tile] = (int.from_bytes(whole) ^ 1 << bit).to_bytes(len(whole))
    leaf, path = leaf_at(index, size, tiles), inclusion_path(index, size, tiles)
    if (leaf, path) == (TREE.leaf(index), TREE.path(index, size)):
        return
    with pytest.raises(ProofError):
        verify_inclusion(leaf, index, size, path, TREE.root(size))


@pytest.mark.parametrize("length", [0, 1, 31, 32 * 111, 32 * 112 + 1, 32 * 113, 8192])
def test_a_tile_of_another_length_is_refused(length):
    """A tile has 32 octets for each of its hashes, not one more or less."""
    with pytest.raises(ProofError, match=f"tile/0/273.p/112 has {length} octets, expected 3584"):
        Tile(0, 273, 112).check(bytes(length))


@pytest.mark.parametrize(("index", "size"), [(0, 0), (5, 5), (6, 5), (-1, 5)])
def test_there_are_no_tiles_for_a_leaf_outside_the_tree(index, size):
    """A leaf that the tree cannot have is `ProofError`, before anything is asked for."""
    with pytest.raises(ProofError):
        inclusion_tiles(index, size)


@pytest.mark.parametrize(("first", "second"), [(0, 5), (6, 5), (-1, 5), (0, 0)])
def test_there_are_no_tiles_between_trees_out_of_order(first, second):
    """A consistency proof goes from a tree that is not empty to one that is not smaller."""
    with pytest.raises(ProofError):
        consistency_tiles(first, second)
