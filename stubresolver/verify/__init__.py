"""What is demanded of an upstream, and the judgement of it. PURE: no files, no network, no clock, no DNS.

verdict = Verifier(policy, log_list).judge(presented, now)
verdict.allowed, verdict.findings, verdict.scts
"""

from stubresolver.verify.certificate import UnreadableCertificate, certificates_from_pem, printable
from stubresolver.verify.issuers import Denied, IssuerPolicy
from stubresolver.verify.lint import Problem, Severity, lint
from stubresolver.verify.pins import PinPolicy
from stubresolver.verify.policy import Policy, Revocation
from stubresolver.verify.policy_file import PolicyFile, read_policy
from stubresolver.verify.presented import Presented, TlsFacts
from stubresolver.verify.toml_lines import key_lines, line_of
from stubresolver.verify.verdict import Finding, JudgedSct, LogListFacts, Mode, Outcome, PathCertificate, Rule, Verdict
from stubresolver.verify.verifier import Verifier
from stubresolver.verify.wording import config_error

__all__ = [
    "Denied",
    "Finding",
    "IssuerPolicy",
    "JudgedSct",
    "LogListFacts",
    "Mode",
    "Outcome",
    "PathCertificate",
    "PinPolicy",
    "Policy",
    "PolicyFile",
    "Presented",
    "Problem",
    "Revocation",
    "Rule",
    "Severity",
    "TlsFacts",
    "UnreadableCertificate",
    "Verdict",
    "Verifier",
    "certificates_from_pem",
    "config_error",
    "key_lines",
    "line_of",
    "lint",
    "printable",
    "read_policy",
]
