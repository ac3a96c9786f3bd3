"""Merkle proofs: the published vectors hold, what the RFC's definitions yield holds, and nothing else does."""

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stubresolver.ct import EMPTY_ROOT, ProofError, leaf_hash, node_hash, verify_consistency, verify_inclusion
from tests.ct.naive import NaiveTree

# The reference tree of the Certificate Transparency project (certificate-transparency, merkletree tests; today
# transparency-dev/merkle, testonly): its leaves, the roots of its first n leaves, and proofs.
LEAVES = [
    bytes.fromhex(leaf)
    for leaf in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = {
    0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    4: "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    5: "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    6: "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    7: "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}
INCLUSION = {  # (leaf, size)
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
CONSISTENCY = {  # (first, second)
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
TREE = NaiveTree.random(10_000)  # the first n leaves of it are a tree of n
SIZES = st.integers(1, TREE.size)
BAD = b"\0" * 32


def unhex(path):
    return [bytes.fromhex(node) for node in path]


def holds(verify, *arguments):
    try:
        verify(*arguments)
    except ProofError:
        return False
    return True


def test_the_hashes_are_those_of_the_rfc():
    """RFC 6962 s2.1: leaves and nodes are told apart by their first octet, and the empty tree has a root."""
    assert leaf_hash(b"") == sha256(b"\0").digest() == bytes.fromhex(ROOTS[1])
    assert node_hash(leaf_hash(LEAVES[0]), leaf_hash(LEAVES[1])) == bytes.fromhex(ROOTS[2])
    assert bytes.fromhex(ROOTS[0]) == EMPTY_ROOT


@pytest.mark.parametrize("size", ROOTS)
def test_the_naive_tree_has_the_published_roots(size):
    """The definitions written out in the tests are the ones that everybody uses."""
    assert NaiveTree(LEAVES).root(size).hex() == ROOTS[size]


@pytest.mark.parametrize(("index", "size"), INCLUSION)
def test_published_inclusion_proofs_hold(index, size):
    """Each published path leads from its leaf to the published root, and is what the definition yields."""
    path = unhex(INCLUSION[index, size])
    verify_inclusion(leaf_hash(LEAVES[index]), index, size, path, bytes.fromhex(ROOTS[size]))
    assert NaiveTree(LEAVES).path(index, size) == path


@pytest.mark.parametrize(("first", "second"), CONSISTENCY)
def test_published_consistency_proofs_hold(first, second):
    """Each published path leads to both published roots, and is what the definition yields."""
    path = unhex(CONSISTENCY[first, second])
    verify_consistency(first, second, bytes.fromhex(ROOTS[first]), bytes.fromhex(ROOTS[second]), path)
    assert NaiveTree(LEAVES).proof(first, second) == path


# RFC 9162 s2.1.5: the tree of seven leaves d0 to d6 with the nodes a to j, g = h(a, b), k = h(g, h) and so on.
A, B, C, D, E, F, J = (TREE.leaf(index) for index in range(7))
G, H, I = node_hash(A, B), node_hash(C, D), node_hash(E, F)  # noqa: E741 - the RFC's names
K, L = node_hash(G, H), node_hash(I, J)
ROOT7 = node_hash(K, L)


@pytest.mark.parametrize(("index", "path"), [(0, [B, H, L]), (3, [C, G, L]), (4, [F, J, K]), (6, [I, K])])
def test_the_inclusion_proofs_of_rfc_9162(index, path):
    """RFC 9162 s2.1.5: the audit paths for d0, d3, d4 and d6 by name."""
    verify_inclusion(TREE.leaf(index), index, 7, path, ROOT7)


@pytest.mark.parametrize(
    ("first", "root", "path"),
    [(3, node_hash(G, C), [C, D, G, L]), (4, K, [L]), (6, node_hash(K, I), [I, J, K])],
)
def test_the_consistency_proofs_of_rfc_9162(first, root, path):
    """RFC 9162 s2.1.5: the proofs between hash0, hash1, hash2 and the final tree by name."""
    verify_consistency(first, 7, root, ROOT7, path)


def test_every_proof_of_every_small_tree():
    """All leaves and all pairs of trees up to 40 leaves: what the definition yields holds."""
    for size in range(1, 41):
        for index in range(size):
            verify_inclusion(TREE.leaf(index), index, size, TREE.path(index, size), TREE.root(size))
        for first in range(1, size + 1):
            verify_consistency(first, size, TREE.root(first), TREE.root(size), TREE.proof(first, size))


@settings(max_examples=300)
@given(SIZES.flatmap(lambda size: st.tuples(st.integers(0, size - 1), st.just(size))))
def test_proofs_of_large_trees_hold(place):
    """Up to 10,000 leaves: inclusion of any leaf, and consistency with the tree that ends there."""
    index, size = place
    verify_inclusion(TREE.leaf(index), index, size, TREE.path(index, size), TREE.root(size))
    first = index + 1
    verify_consistency(first, size, TREE.root(first), TREE.root(size), TREE.proof(first, size))


@settings(max_examples=20)
@given(st.binary(min_size=1, max_size=8), st.integers(1, 2_000), st.data())
def test_proofs_of_random_trees_hold(seed, size, data):
    """Other leaves, other trees: the same."""
    tree = NaiveTree.random(size, seed)
    index = data.draw(st.integers(0, size - 1))
    verify_inclusion(leaf_hash(tree.leaves[index]), index, size, tree.path(index, size), tree.root(size))
    verify_consistency(index + 1, size, tree.root(index + 1), tree.root(size), tree.proof(index + 1, size))


MUTATIONS = ("flip", "drop", "append", "swap", "repeat")


def mutated(path, kind, number):
    """`path` with one thing wrong, the same path where nothing is there to be changed."""
    path = list(path)
    at = number % max(len(path), 1)
    if kind == "append" or not path:
        return [*path, BAD]
    if kind == "flip":
        path[at] = bytes((*path[at][:-1], path[at][-1] ^ 1 << number % 8))
    elif kind == "drop":
        del path[at]
    elif kind == "swap":
        path[at], path[at - 1] = path[at - 1], path[at]
    else:
        path.insert(at, path[at])
    return path


@settings(max_examples=400)
@given(SIZES, st.integers(0), st.sampled_from(MUTATIONS), st.integers(0, 1000))
def test_a_changed_path_does_not_hold(size, place, kind, number):
    """A bit turned, a hash dropped, added, moved or repeated: only the very path of the definition holds."""
    index = place % size
    path = TREE.path(index, size)
    wrong = mutated(path, kind, number)
    assert holds(verify_inclusion, TREE.leaf(index), index, size, wrong, TREE.root(size)) is (wrong == path)
    first = index + 1
    path = TREE.proof(first, size)
    wrong = mutated(path, kind, number)
    assert holds(verify_consistency, first, size, TREE.root(first), TREE.root(size), wrong) is (wrong == path)


@settings(max_examples=400)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(0), st.integers(0))
def test_a_proof_holds_for_its_own_place_and_sizes_only(size, other, place, elsewhere):
    """Held against the true roots of other sizes or for another leaf, a path holds only where it is theirs too."""
    index, wrong = place % size, elsewhere % other
    path, theirs = TREE.path(index, size), TREE.path(wrong, other)
    assert holds(verify_inclusion, TREE.leaf(wrong), wrong, other, path, TREE.root(other)) is (path == theirs)
    assert holds(verify_inclusion, TREE.leaf(index), elsewhere % size, size, path, TREE.root(size)) is (
        elsewhere % size == index
    )
    first, wrong = index + 1, wrong + 1
    path, theirs = TREE.proof(first, size), TREE.proof(wrong, other)
    assert holds(verify_consistency, wrong, other, TREE.root(wrong), TREE.root(other), path) is (path == theirs)


@settings(max_examples=200)
@given(SIZES, st.integers(0), st.integers(0, 255))
def test_a_wrong_root_or_leaf_does_not_hold(size, place, bit):
    """One bit of a root or of the leaf's hash: no proof."""
    index = place % size
    leaf, root, path = TREE.leaf(index), TREE.root(size), TREE.path(index, size)
    turned = [(int.from_bytes(octets) ^ 1 << bit).to_bytes(32) for octets in (leaf, root)]
    assert not holds(verify_inclusion, turned[0], index, size, path, root)
    assert not holds(verify_inclusion, leaf, index, size, path, turned[1])
    first, proof = index + 1, TREE.proof(index + 1, size)
    before = TREE.root(first)
    assert not holds(verify_consistency, first, size, before, turned[1], proof)
    before = (int.from_bytes(before) ^ 1 << bit).to_bytes(32)
    assert not holds(verify_consistency, first, size, before, root, proof)


LEAF, ROOT8 = leaf_hash(LEAVES[0]), bytes.fromhex(ROOTS[8])
PATH8 = unhex(INCLUSION[0, 8])
NO_INCLUSION = {
    "an empty tree": (LEAF, 0, 0, [], EMPTY_ROOT),
    "an empty tree, its root as leaf": (EMPTY_ROOT, 0, 0, [], EMPTY_ROOT),
    "the leaf after the last": (LEAF, 8, 8, PATH8, ROOT8),
    "far behind the tree": (LEAF, 1 << 63, 8, PATH8, ROOT8),
    "a negative leaf": (LEAF, -1, 8, PATH8, ROOT8),
    "a negative size": (LEAF, 0, -8, PATH8, ROOT8),
    "a size of 65 bits": (LEAF, 0, 1 << 64, PATH8, ROOT8),
    "the index and size as 64 bits would wrap them": (LEAF, 1 << 64, (1 << 64) + 8, PATH8, ROOT8),
    "no path": (LEAF, 0, 8, [], ROOT8),
    "a path for one leaf": (LEAF, 0, 1, PATH8, ROOT8),
    "a path that is too long": (LEAF, 0, 8, [*PATH8, ROOT8], ROOT8),
    "a path of thousands": (LEAF, 0, 8, PATH8 * 2_000, ROOT8),
    "a node given out as the leaf": (node_hash(LEAF, PATH8[0]), 0, 8, PATH8[1:], ROOT8),
    "the root given out as the leaf": (ROOT8, 0, 8, [], ROOT8),
    "a leaf that is not a hash": (LEAVES[1], 0, 8, PATH8, ROOT8),
    "a root cut short": (LEAF, 0, 8, PATH8, ROOT8[:-1]),
    "a path node cut short": (LEAF, 0, 8, [PATH8[0][:-1], *PATH8[1:]], ROOT8),
    "two path nodes as one": (LEAF, 0, 8, [PATH8[0] + PATH8[1], PATH8[2]], ROOT8),
}


@pytest.mark.parametrize("arguments", NO_INCLUSION.values(), ids=NO_INCLUSION)
def test_what_is_no_inclusion_proof_is_refused(arguments):
    """Sizes, places and lengths out of range, and hashes that are none, are `ProofError` and nothing else."""
    with pytest.raises(ProofError):
        verify_inclusion(*arguments)


ROOT1, ROOT5, ROOT6 = (bytes.fromhex(ROOTS[size]) for size in (1, 5, 6))
PROOF68 = unhex(CONSISTENCY[6, 8])
PROOF18 = unhex(CONSISTENCY[1, 8])
NO_CONSISTENCY = {
    "from an empty tree": (0, 8, EMPTY_ROOT, ROOT8, []),
    "from an empty tree with a path": (0, 8, EMPTY_ROOT, ROOT8, PROOF18),
    "two empty trees": (0, 0, EMPTY_ROOT, EMPTY_ROOT, []),
    "backwards": (8, 6, ROOT8, ROOT6, PROOF68),
    "a negative size": (-6, 8, ROOT6, ROOT8, PROOF68),
    "a size of 65 bits": (6, 1 << 64, ROOT6, ROOT8, PROOF68),
    "sizes as 64 bits would wrap them": ((1 << 64) + 6, (1 << 64) + 8, ROOT6, ROOT8, PROOF68),
    "one size, two roots": (8, 8, ROOT6, ROOT8, []),
    "one size and a path": (8, 8, ROOT8, ROOT8, [ROOT8]),
    "no path": (6, 8, ROOT6, ROOT8, []),
    "no path from a power of two": (1, 8, ROOT1, ROOT8, []),
    "equal roots of two sizes, no path": (6, 8, ROOT8, ROOT8, []),
    "too short": (6, 8, ROOT6, ROOT8, PROOF68[:-1]),
    "too long": (6, 8, ROOT6, ROOT8, [*PROOF68, ROOT8]),
    "a path of thousands": (6, 8, ROOT6, ROOT8, PROOF68 * 2_000),
    "the first root put in front": (1, 8, ROOT1, ROOT8, [ROOT1, *PROOF18]),
    "the roots the other way round": (6, 8, ROOT8, ROOT6, PROOF68),
    "another first root": (6, 8, ROOT5, ROOT8, PROOF68),
    "another second root": (6, 8, ROOT6, ROOT5, PROOF68),
    "another first size": (5, 8, ROOT6, ROOT8, PROOF68),
    "a root cut short": (6, 8, ROOT6[:-1], ROOT8, PROOF68),
    "a path node too long": (6, 8, ROOT6, ROOT8, [*PROOF68[:-1], PROOF68[-1] + b"\0"]),
}


@pytest.mark.parametrize("arguments", NO_CONSISTENCY.values(), ids=NO_CONSISTENCY)
def test_what_is_no_consistency_proof_is_refused(arguments):
    """Sizes and lengths out of range, the wrong roots, and hashes that are none, are `ProofError` and nothing else."""
    with pytest.raises(ProofError):
        verify_consistency(*arguments)


def folded(leaf, path):
    """The root to which a path of right-hand neighbours leads: made up to fit."""
    root = leaf
    for node in path:
        root = node_hash(root, node)
    return root


LONG = [bytes((number,)) * 32 for number in range(64)]


def test_the_greatest_tree_has_2_to_the_64_less_one_leaves():
    """RFC 6962 s3.5: uint64 tree_size. A proof for one leaf more does not hold, whatever its hashes are."""
    root = folded(LEAF, LONG)
    verify_inclusion(LEAF, 0, (1 << 64) - 1, LONG, root)
    verify_consistency(1, (1 << 64) - 1, LEAF, root, LONG)
    assert not holds(verify_inclusion, LEAF, 0, 1 << 64, LONG, root)
    assert not holds(verify_consistency, 1, 1 << 64, LEAF, root, LONG)


def test_the_last_leaf_is_not_leaf_minus_one():
    """A negative index has the bits of a leaf that is there; it is none."""
    assert holds(verify_inclusion, leaf_hash(LEAVES[7]), 7, 8, NaiveTree(LEAVES).path(7, 8), ROOT8)
    assert not holds(verify_inclusion, leaf_hash(LEAVES[7]), -1, 8, NaiveTree(LEAVES).path(7, 8), ROOT8)


def test_hashes_of_another_length_never_fit():
    """With roots made to fit them, too: a hash has 32 octets or there is no proof."""
    for octets in (BAD[:-1], BAD + b"\0", b""):
        assert not holds(verify_inclusion, octets, 0, 1, [], octets)
        assert not holds(verify_inclusion, LEAF, 0, 2, [octets], node_hash(LEAF, octets))
        assert not holds(verify_inclusion, octets, 0, 2, [BAD], node_hash(octets, BAD))
        assert not holds(verify_consistency, 1, 1, octets, octets, [])
        assert not holds(verify_consistency, 1, 2, LEAF, node_hash(LEAF, octets), [octets])
        assert not holds(verify_consistency, 1, 2, octets, node_hash(octets, BAD), [BAD])


def test_a_path_of_another_length_never_fits_a_size():
    """With roots made to fit them, too: a path that ends before the sizes do, or after, joins no such trees."""
    verify_consistency(1, 2, LEAF, node_hash(LEAF, BAD), [BAD])
    assert not holds(verify_consistency, 1, 100, LEAF, node_hash(LEAF, BAD), [BAD])
    path = TREE.proof(3, 4)
    verify_consistency(3, 4, TREE.root(3), TREE.root(4), path)
    higher = [node_hash(BAD, TREE.root(size)) for size in (3, 4)]
    assert not holds(verify_consistency, 3, 4, *higher, [*path, BAD])
    verify_inclusion(LEAF, 0, 2, [BAD], node_hash(LEAF, BAD))
    assert not holds(verify_inclusion, LEAF, 0, 100, [BAD], node_hash(LEAF, BAD))
    assert not holds(verify_inclusion, LEAF, 0, 1, [BAD], node_hash(BAD, LEAF))


def test_a_proof_error_says_what_was_got_and_expected():
    """The text names both roots where a path leads astray, and both lengths where it is too long."""
    with pytest.raises(ProofError, match=f"{ROOT8.hex()}, expected {ROOT6.hex()}"):
        verify_inclusion(LEAF, 0, 8, PATH8, ROOT6)
    with pytest.raises(ProofError, match="4 hashes, expected 3"):
        verify_inclusion(LEAF, 0, 8, [*PATH8, ROOT8], ROOT8)
    with pytest.raises(ProofError, match=f"{ROOT8.hex()} for 8 leaves, expected {ROOT5.hex()}"):
        verify_consistency(6, 8, ROOT6, ROOT5, PROOF68)


@settings(max_examples=200)
@given(
    st.integers(-(2**66), 2**66), st.integers(-(2**66), 2**66), st.lists(st.binary(max_size=33) | st.just(BAD)),
    st.binary(min_size=32, max_size=32),
)  # fmt: skip
def test_nothing_but_a_proof_error_comes_of_any_input(first, second, path, root):
    """Whatever a log answers: the proof holds or it is `ProofError`."""
    assert not holds(verify_inclusion, root, first, second, path, BAD)
    assert holds(verify_consistency, first, second, root, BAD, path) is (
        first == second and root == BAD and not path and 0 < first < 2**64
    )
