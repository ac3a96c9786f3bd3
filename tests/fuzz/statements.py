"""What must hold for what upstreams, logs and publishers of lists state: DER, SCTs, tree heads, proofs, log lists."""

from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from zlib import crc32

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from stubresolver.ct import (
    BadTreeHeadSignature,
    Log,
    LogKind,
    LogList,
    LogState,
    MalformedSct,
    MalformedSctList,
    MalformedTreeHead,
    ProofError,
    consistency_path,
    consistency_tiles,
    embedded_list,
    inclusion_path,
    inclusion_tiles,
    leaf_index,
    merkle_leaf,
    parse_sct,
    read_tree_head,
    verify_consistency,
    verify_inclusion,
)
from stubresolver.ct.der import MalformedDer, content, elements, extensions, signature, subject_public_key_info
from stubresolver.errors import LogListError, SourceRefused
from stubresolver.loglists.reading import read_list

# Of the log that signed the tree heads in the corpus; its private key is lost.
KEY = bytes.fromhex(
    "3059301306072a8648ce3d020106082a8648ce3d0301070342000450b0aaabf134c4e74745a45af876616ccc866"
    "96c4b98c9d067144fed6271a617899aae2494bff616a53d62954a92f6f70c90d84c3f30e4d3b7b0c8eb80ebb5dc"
)


def check_der(octets: bytes) -> None:
    """A certificate's parts, or `MalformedDer`."""
    with suppress(MalformedDer):
        found = list(elements(octets))
        assert b"".join(whole for _, _, whole in found) == octets
    for read in (extensions, signature, subject_public_key_info, lambda der: content(der, 0x30)):
        with suppress(MalformedDer):
            read(octets)


def check_sct(octets: bytes) -> None:
    """A list of SCTs in a certificate, or one SCT."""
    with suppress(MalformedSctList):
        for serialized in embedded_list(octets) or ():
            _check_one_sct(serialized)
    _check_one_sct(octets)


def check_tree_head(octets: bytes) -> None:
    """A tree head in either spelling: signed by the log, or refused."""
    for log in _LOGS:
        with suppress(MalformedTreeHead, BadTreeHeadSignature):
            head = read_tree_head(octets, log)
            assert read_tree_head(head.octets, log) == head
            assert head.size >= 0
            assert len(head.root) == 32


def check_proof(octets: bytes) -> None:
    """Two numbers, then hashes: no proof holds by chance, and no tile is needed that is not there."""
    first, second = int.from_bytes(octets[:8]), int.from_bytes(octets[8:16])
    hashes = [octets[at : at + 32] for at in range(16, len(octets), 32)]
    root, other, *_ = [*hashes, b"", b""]
    with suppress(ProofError):
        verify_inclusion(other, first, second, hashes[2:], root)
    with suppress(ProofError):
        verify_consistency(first, second, root, other, hashes[2:])
        assert root == other or hashes[2:]
    if second >> 20 and crc32(octets) % 64:
        return  # the tiles of large trees take a millisecond
    with suppress(ProofError):
        tiles = {tile: bytes(tile.width * 32) for tile in inclusion_tiles(first, second)}
        assert all(tile.check(octets) and 1 <= tile.width <= 256 for tile, octets in tiles.items())
        assert len(inclusion_path(first, second, tiles)) <= 64
    with suppress(ProofError):
        tiles = {tile: bytes(tile.width * 32) for tile in consistency_tiles(first, second)}
        assert len(consistency_path(first, second, tiles)) <= 66


def check_log_list(octets: bytes) -> None:
    """A log list in the v3 schema, and as any publisher writes it."""
    with suppress(LogListError):
        found = LogList.parse(octets)
        assert all(log.description.isprintable() for log in found.logs.values())
    with suppress(SourceRefused):
        assert read_list(octets).version.isprintable()


def _check_one_sct(octets: bytes) -> None:
    with suppress(MalformedSct):
        sct = parse_sct(octets)
        assert len(sct.log_id) == 32
        index = leaf_index(sct)
        assert index is None or 0 <= index < 1 << 40
        merkle_leaf(sct, bytes(32), b"\x30\0")


def _log(kind: LogKind) -> Log:
    key = load_der_public_key(KEY)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    static = kind is LogKind.STATIC_CT
    return Log(
        log_id=sha256(KEY).digest(),
        key=key,
        description="Fuzzed",
        operator="Nobody",
        kind=kind,
        state=LogState.USABLE,
        state_since=datetime(2026, 1, 1, tzinfo=UTC),
        interval=None,
        url="https://logs.example/2026h2/",
        submission_url="https://logs.example/2026h2/" if static else "",
    )


_LOGS = tuple(map(_log, LogKind))
