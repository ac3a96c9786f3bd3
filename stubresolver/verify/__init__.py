"""What is demanded of an upstream, and the judgement of it. PURE: no files, no network, no clock, no DNS.

verdict = Verifier(policy, log_list).judge(presented, now, remembered)
verdict.allowed, verdict.findings, verdict.scts
"""

from stubresolver.ct.compliance import Proof, WhenStale
from stubresolver.verify.certificate import UnreadableCertificate, certificates_from_pem, printable
from stubresolver.verify.freshness import judge_clock
from stubresolver.verify.issuers import Denied, IssuerPolicy
from stubresolver.verify.lint import Problem, Severity, lint
from stubresolver.verify.pins import PinPolicy
from stubresolver.verify.policy import Policy, Revocation
from stubresolver.verify.policy_file import Layer, PolicyFile, read_layers, read_policy, read_policy_tables
from stubresolver.verify.presented import Presented, TlsFacts
from stubresolver.verify.remembered import NOTHING_REMEMBERED, ClockFloor, Remembered, Whose, highest, iso
from stubresolver.verify.toml_lines import key_lines, line_of
from stubresolver.verify.verdict import Finding, JudgedSct, LogListFacts, Mode, Outcome, PathCertificate, Rule, Verdict
from stubresolver.verify.verifier import Verifier
from stubresolver.verify.wording import config_error

__all__ = [
    "NOTHING_REMEMBERED",
    "ClockFloor",
    "Denied",
    "Finding",
    "IssuerPolicy",
    "JudgedSct",
    "Layer",
    "LogListFacts",
    "Mode",
    "Outcome",
    "PathCertificate",
    "PinPolicy",
    "Policy",
    "PolicyFile",
    "Presented",
    "Problem",
    "Proof",
    "Remembered",
    "Revocation",
    "Rule",
    "Severity",
    "TlsFacts",
    "UnreadableCertificate",
    "Verdict",
    "Verifier",
    "WhenStale",
    "Whose",
    "certificates_from_pem",
    "config_error",
    "highest",
    "iso",
    "judge_clock",
    "key_lines",
    "line_of",
    "lint",
    "printable",
    "read_layers",
    "read_policy",
    "read_policy_tables",
]
