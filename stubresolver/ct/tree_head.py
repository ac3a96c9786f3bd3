"""Signed tree heads: a log's statement of how long it is and what is in it. PURE: octets in, a `TreeHead` or an error.

Two spellings of one signature (RFC 6962 s3.5): the JSON of get-sth (RFC 6962 s4.3), and a checkpoint of a static-ct log
(c2sp.org/tlog-checkpoint in a c2sp.org/signed-note, signed as c2sp.org/static-ct-api says). No `TreeHead` leaves here
that the log did not sign. Whether it is fresh, or agrees with another, is not asked here.
"""

import base64
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import msgspec

from stubresolver.ct.loglist import Log, LogKind
from stubresolver.ct.sct import is_signature

MAXIMUM_STH = 16 * 1024  # octets; real ones have under 500
MAXIMUM_CHECKPOINT = 128 * 1024  # signed-note: "at least up to 16 signatures", post-quantum ones of "nearly 5kB"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SIZES = 1 << 63  # the protocol says uint64; Go's logs count in int64, and no tree comes near either
_TIMES = 1 << 64  # uint64 timestamp
_TREE_HASH = 1  # SignatureType, RFC 6962 s3.2
_NOTE_TYPE = b"\x05"  # static-ct-api: "the signature type identifier byte 0x05"
_SIGNATURE_LINE = "\N{EM DASH} "  # signed-note: "em dash (U+2014), space (U+0020), key name, space, ..."


class MalformedTreeHead(ValueError):
    """Octets that are no tree head of this log at all: nothing that it said."""


class BadTreeHeadSignature(ValueError):
    """A tree head in the log's name that the log did not sign."""


@dataclass(frozen=True, slots=True)
class TreeHead:
    """What the log signed at one time."""

    log_id: bytes
    size: int  # leaves
    timestamp: int  # milliseconds since 1970-01-01
    root: bytes  # Merkle Tree Hash over all of them
    octets: bytes = field(repr=False)  # readable again: JSON as received, a checkpoint without others' signatures

    @property
    def time(self) -> datetime | None:
        """The timestamp, None where it lies beyond the calendar."""
        try:
            return _EPOCH + timedelta(milliseconds=self.timestamp)
        except OverflowError:
            return None


def read_tree_head(octets: bytes, log: Log) -> TreeHead:
    """Read a tree head of this log, in the spelling of its kind; raises `MalformedTreeHead`, `BadTreeHeadSignature`."""
    return read_sth(octets, log) if log.kind is LogKind.RFC6962 else read_checkpoint(octets, log)


def read_again(octets: bytes, log: Log) -> TreeHead:
    """Read `TreeHead.octets`, whatever the list said of the log then; raises as above.

    By the log's key alone: neither its kind nor its name is in what it signed (RFC 6962 s3.5), and a list that calls it
    otherwise today cannot make it unsay anything.
    """
    if octets.lstrip().startswith(b"{"):  # no origin begins like JSON
        return read_sth(octets, log)
    return _read_note(octets, log, octets.partition(b"\n")[0].decode(errors="replace"))


def read_sth(octets: bytes, log: Log) -> TreeHead:
    """Read the answer to get-sth (RFC 6962 s4.3); raises `MalformedTreeHead` or `BadTreeHeadSignature`."""
    if len(octets) > MAXIMUM_STH:
        raise MalformedTreeHead(f"{len(octets)} octets, expected a tree head of at most {MAXIMUM_STH}")
    try:
        sth = msgspec.json.decode(octets, type=_Sth)
        root, signature = _base64(sth.sha256_root_hash), _base64(sth.tree_head_signature)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise MalformedTreeHead(f"not the JSON of a tree head: {error}") from None
    return _signed(TreeHead(log.log_id, sth.tree_size, sth.timestamp, root, octets), signature, log)


def read_checkpoint(octets: bytes, log: Log) -> TreeHead:
    """Read a static-ct log's checkpoint; raises `MalformedTreeHead` or `BadTreeHeadSignature`.

    Signatures of others (witnesses, the log's other keys) are passed over; of the log's own there must be one.
    """
    # static-ct-api: "the origin line MUST be the submission prefix of the log as a schema-less URL with no trailing
    # slashes"
    return _read_note(octets, log, log.submission_url.removeprefix("https://").rstrip("/"))


class _Sth(msgspec.Struct):
    """RFC 6962 s4.3, the output of get-sth."""

    tree_size: int
    timestamp: int
    sha256_root_hash: str
    tree_head_signature: str


def _read_note(octets: bytes, log: Log, expected: str) -> TreeHead:
    """Read a checkpoint of that origin."""
    text, lines = _open_note(octets)
    parts = text.split("\n")
    # static-ct-api: "A checkpoint signed with this algorithm MUST NOT include any extension lines."
    if len(parts) != 4:
        raise MalformedTreeHead(f"a checkpoint of {len(parts) - 1} lines, expected origin, size and root")
    origin, size, root_text, _ = parts
    if not expected or origin != expected:
        raise MalformedTreeHead(f"a checkpoint of {origin[:80]!a}, expected {expected!a}")
    # tlog-checkpoint: "with no leading zeroes (unless the tree is empty, in which case the tree size is 0)"
    if not (size.isascii() and size.isdecimal() and len(size) < 20) or (size[0] == "0" and size != "0"):
        raise MalformedTreeHead(f"a tree size of {size[:40]!a}, expected a decimal number")
    try:
        root = _base64(root_text)
    except ValueError as error:
        raise MalformedTreeHead(f"the root is not base64: {error}") from None
    line, body = _own_signature(lines, origin, log)
    # struct { uint64 timestamp; TreeHeadSignature signature; } RFC6962NoteSignature;                static-ct-api
    kept = f"{text}\n{line}\n".encode()
    return _signed(TreeHead(log.log_id, int(size), int.from_bytes(body[:8], "big"), root, kept), body[8:], log)


def _signed(head: TreeHead, signature: bytes, log: Log) -> TreeHead:
    """The tree head, if the log signed it.

    digitally-signed struct {
        Version version;                             1 octet, v1(0)
        SignatureType signature_type = tree_hash;    1 octet, 1
        uint64 timestamp;
        uint64 tree_size;
        opaque sha256_root_hash[32];
    } TreeHeadSignature;                                                                      RFC 6962 s3.5
    """
    if not (0 <= head.size < _SIZES and 0 <= head.timestamp < _TIMES and len(head.root) == 32):
        numbers = f"size {head.size}, timestamp {head.timestamp}, a root of {len(head.root)} octets"
        raise MalformedTreeHead(f"{numbers}; expected below 2^63, below 2^64, 32 octets")
    # DigitallySigned: hash and signature algorithm, opaque signature<0..2^16-1>                RFC 5246 s4.7
    if int.from_bytes(signature[2:4], "big") != len(signature) - 4:
        raise BadTreeHeadSignature(f"a signature of {len(signature)} octets whose length says otherwise")
    octets = b"".join(
        (
            b"\0",
            bytes((_TREE_HASH,)),
            head.timestamp.to_bytes(8, "big"),
            head.size.to_bytes(8, "big"),
            head.root,
        )
    )
    if not is_signature(log.key, signature[0], signature[1], signature[4:], octets):
        raise BadTreeHeadSignature(f"a tree head of {head.size} leaves that the log's key did not sign")
    return head


def _open_note(octets: bytes) -> tuple[str, list[str]]:
    """The text of a signed note and its signature lines; raises `MalformedTreeHead`."""
    if len(octets) > MAXIMUM_CHECKPOINT:
        raise MalformedTreeHead(f"{len(octets)} octets, expected a checkpoint of at most {MAXIMUM_CHECKPOINT}")
    try:
        note = octets.decode()
    except UnicodeDecodeError:
        raise MalformedTreeHead("not UTF-8") from None
    # signed-note: "MUST NOT contain any ASCII control characters (those below U+0020) other than newline"
    if any(character < " " and character != "\n" for character in note):
        raise MalformedTreeHead("a control character in it")
    # "the text is separated from the signatures by the last empty line in the note"
    text, separator, signatures = note.rpartition("\n\n")
    lines = signatures.split("\n")
    if not separator or lines.pop() or not lines:
        raise MalformedTreeHead(f"no signed note: {note[:40]!a}")
    if not all(line.startswith(_SIGNATURE_LINE) and line.count(" ") == 2 for line in lines):
        raise MalformedTreeHead("a line among the signatures that is none")
    return f"{text}\n", lines


def _own_signature(lines: list[str], origin: str, log: Log) -> tuple[str, bytes]:
    """The log's one signature line, and what follows the key id in it; raises `BadTreeHeadSignature`.

    static-ct-api: "The key name of the signature line MUST match the checkpoint origin line. The key ID MUST be the
    first four bytes ... of the SHA-256 hash of ...: the key name, a newline character (0x0A), the signature type
    identifier byte 0x05, and the 32-byte RFC 6962 LogID."
    """
    key_id = sha256(origin.encode() + b"\n" + _NOTE_TYPE + log.log_id).digest()[:4]
    found = []
    for line in lines:
        _, name, encoded = line.split(" ")
        if name != origin:
            continue
        try:
            octets = _base64(encoded)
        except ValueError:
            continue  # of which key, nobody can say
        if octets[:4] == key_id:
            found.append((line, octets[4:]))
    if len(found) != 1:
        raise BadTreeHeadSignature(f"{len(found)} signatures by the log's key among {len(lines)}, expected 1")
    return found[0]


def _base64(text: str) -> bytes:
    """RFC 4648 s4 in its one spelling; raises ValueError."""
    octets = base64.b64decode(text, validate=True)
    if base64.b64encode(octets).decode() != text:
        raise ValueError("base64 with bits after its end")
    return octets
