"""Merkle tree hashes and the verification of their proofs (RFC 9162 s2.1, the trees of RFC 6962 s2.1). PURE.

Verifies, never builds: a proof comes from a log and is held against roots that the log signed. Whatever does not lead
to the root raises `ProofError`; there is no answer but "it holds" (return) and "it does not" (raise). Sizes are the
protocol's uint64; hashes are SHA-256 and nothing else.
"""

from collections.abc import Sequence
from hashlib import sha256

EMPTY_ROOT = sha256(b"").digest()  # RFC 6962 s2.1: "MTH({}) = SHA-256()"
_HASH_SIZE = 32
_SIZES = 1 << 64  # RFC 6962 s3.5: uint64 tree_size


class ProofError(ValueError):
    """A proof that does not prove: the text says where it went wrong."""


def leaf_hash(octets: bytes) -> bytes:
    """RFC 6962 s2.1: "MTH({d(0)}) = SHA-256(0x00 || d(0))"."""
    return sha256(b"\0" + octets).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """RFC 6962 s2.1: "MTH(D[n]) = SHA-256(0x01 || MTH(D[0:k]) || MTH(D[k:n]))"."""
    return sha256(b"\1" + left + right).digest()


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Hold a leaf hash at `index` against the root of a tree of `size` leaves; raises `ProofError`.

    RFC 9162 s2.1.3.2, whose names these are: fn, sn, r.
    """
    _check_hashes(leaf, root, *path)
    if not 0 <= index < size < _SIZES:
        raise ProofError(f"leaf {index} of a tree of {size}: expected 0 <= leaf < size < 2^64")
    fn, sn, r = index, size - 1, leaf
    for number, p in enumerate(path):
        # "If sn is 0, then stop the iteration and fail the proof verification."
        if sn == 0:
            raise ProofError(f"a path of {len(path)} hashes, expected {number}")
        if fn & 1 or fn == sn:
            r = node_hash(p, r)
            fn, sn = _skip_edge(fn, sn)
        else:
            r = node_hash(r, p)
        fn, sn = fn >> 1, sn >> 1
    # "Compare sn to 0. Compare r against the root_hash."
    if sn != 0:
        raise ProofError(f"a path of {len(path)} hashes is too short for leaf {index} of {size}")
    if r != root:
        raise ProofError(f"the path leads to the root {r.hex()}, expected {root.hex()}")


def verify_consistency(first: int, second: int, first_root: bytes, second_root: bytes, path: Sequence[bytes]) -> None:
    """Hold the tree of `first` leaves against that of `second`, which must begin with it; raises `ProofError`.

    RFC 9162 s2.1.4.2, whose names these are: fn, sn, fr, sr. Trees of one size need no proof but the same root. There
    is no proof for an empty tree, which every tree begins with.
    """
    _check_hashes(first_root, second_root, *path)
    if not 0 < first <= second < _SIZES:
        raise ProofError(f"trees of {first} and {second}: expected 0 < first <= second < 2^64")
    if first == second:
        if path or first_root != second_root:
            raise ProofError(f"two trees of {first}: expected one root and no path, got {len(path)} hashes")
        return
    # "If consistency_path is an empty array, stop and fail the proof verification."
    if not path:
        raise ProofError(f"no path from {first} to {second}")
    # "If first is an exact power of 2, then prepend first_hash to the consistency_path array."
    start, *rest = path if first & (first - 1) else (first_root, *path)
    fr, sr = _climb(first, second, start, rest)
    for size, found, expected in ((first, fr, first_root), (second, sr, second_root)):
        if found != expected:
            raise ProofError(f"the path leads to the root {found.hex()} for {size} leaves, expected {expected.hex()}")


def _climb(first: int, second: int, start: bytes, rest: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Steps 3 to 6 of RFC 9162 s2.1.4.2: the roots fr and sr to which a path leads; raises `ProofError`."""
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = start
    for c in rest:
        if sn == 0:
            raise ProofError(f"the path is too long from {first} to {second}: {len(rest)} hashes after the first")
        if fn & 1 or fn == sn:
            fr, sr = node_hash(c, fr), node_hash(c, sr)
            fn, sn = _skip_edge(fn, sn)
        else:
            sr = node_hash(sr, c)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0:
        raise ProofError(f"the path is too short from {first} to {second}: {len(rest)} hashes after the first")
    return fr, sr


def _skip_edge(fn: int, sn: int) -> tuple[int, int]:
    """RFC 9162: "If LSB(fn) is not set, then right-shift both ... until either LSB(fn) is set or fn is 0"."""
    while fn and not fn & 1:
        fn, sn = fn >> 1, sn >> 1
    return fn, sn


def _check_hashes(*hashes: bytes) -> None:
    for octets in hashes:
        if len(octets) != _HASH_SIZE:
            raise ProofError(f"a hash of {len(octets)} octets, expected {_HASH_SIZE}")
