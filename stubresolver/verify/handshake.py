"""What the TLS handshake negotiated, held against the policy, and OpenSSL's opinion of the chain. PURE."""

from collections.abc import Iterable

from stubresolver.verify.certificate import printable
from stubresolver.verify.policy import Policy
from stubresolver.verify.presented import TlsFacts
from stubresolver.verify.verdict import Finding, Outcome, Rule

# Hybrids of an elliptic curve with ML-KEM, by the names of IANA's registry "TLS Supported Groups": 4587 to 4589
# (draft-ietf-tls-ecdhe-mlkem). Both halves have to be broken before the connection can be read. All need TLS 1.3.
POST_QUANTUM_GROUPS = ("SecP256r1MLKEM768", "X25519MLKEM768", "SecP384r1MLKEM1024")

_VERSIONS = ("TLSv1.2", "TLSv1.3")  # in rising order; anything else is below


def judge_handshake(tls: TlsFacts | None, policy: Policy) -> Iterable[Finding]:
    """Findings on version, key exchange and second lock; a chain from a file (None) has none of them."""
    if tls is None:
        yield Finding(Rule.TLS_VERSION, Outcome.NOTE, "", "not judged: no handshake, the chain is from a file")
        return
    version, wanted = printable(tls.version), policy.minimum_tls
    good = version in _VERSIONS and _VERSIONS.index(version) >= _VERSIONS.index(wanted)
    outcome = Outcome.PASS if good else Outcome.FAIL
    yield Finding(Rule.TLS_VERSION, outcome, version, f"{version}, wanted at least {wanted}")
    yield _judge_group(tls.group, required=policy.require_post_quantum)
    error = tls.openssl_error
    yield Finding(
        Rule.PATH_SECOND_LOCK,
        Outcome.PASS if error is None else Outcome.FAIL,
        "OpenSSL",
        "agrees" if error is None else printable(error),
    )


def _judge_group(group: str | None, *, required: bool) -> Finding:
    """The key exchange: a note, or a demand of a hybrid; a group that nobody can name is none."""
    name = printable(group or "unknown")
    hybrid = group in POST_QUANTUM_GROUPS
    if not required:
        kind = "a hybrid with ML-KEM" if hybrid else "no hybrid with ML-KEM"
        return Finding(Rule.TLS_GROUP, Outcome.NOTE, name, f"{name}, {kind}" if group else "not known")
    outcome = Outcome.PASS if hybrid else Outcome.FAIL
    return Finding(Rule.TLS_GROUP, outcome, name, f"{name}, wanted one of {', '.join(POST_QUANTUM_GROUPS)}")
