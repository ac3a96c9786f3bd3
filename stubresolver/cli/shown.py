"""A verdict as people read it: the chain, each SCT, each rule, and one line that says it all.

Everything from a certificate goes through `rich.text.Text`, never through markup: a subject may contain anything.
"""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from stubresolver.ct import SctStatus
from stubresolver.verify import Outcome, Presented, Verdict

_STYLES = {Outcome.PASS: "green", Outcome.FAIL: "bold red", Outcome.NOTE: "dim"}


def show_verdict(console: Console, title: str, presented: Presented, verdict: Verdict) -> None:
    """Print one verdict whole."""
    console.print(Text(title, style="bold"))
    if presented.tls is not None:
        facts = (presented.tls.version, presented.tls.cipher, presented.tls.group or "group unknown")
        console.print(Text("  " + ", ".join(facts), style="dim"))
    if verdict.path:
        console.print(_path_table(verdict))
    if verdict.scts:
        console.print(_sct_table(verdict))
    console.print(_rule_table(verdict))
    console.print(verdict_line(verdict))


def verdict_line(verdict: Verdict) -> Text:
    """ALLOWED or REFUSED, and why."""
    word, style = ("ALLOWED", "bold green") if verdict.allowed else ("REFUSED", "bold red")
    return Text.assemble((word, style), f"  {verdict.summary}")


def _path_table(verdict: Verdict) -> Table:
    table = _table("Verified path", "Certificate", "Valid until", "SPKI SHA-256")
    for certificate in verdict.path:
        table.add_row(Text(certificate.subject), certificate.not_after[:10], certificate.spki_sha256[:16] + "…")
    return table


def _sct_table(verdict: Verdict) -> Table:
    table = _table("Embedded SCTs", "Log", "Operator", "Signed", "Status")
    for sct in verdict.scts:
        style = "green" if sct.status is SctStatus.VALID else "red"
        log = sct.log or (f"unknown log {sct.log_id[:12]}…" if sct.log_id else "unreadable")
        table.add_row(Text(log), Text(sct.operator), sct.timestamp[:19], Text(sct.status.value, style=style))
    return table


def _rule_table(verdict: Verdict) -> Table:
    table = _table("Rules", "Rule", "Outcome", "Found")
    for finding in verdict.findings:
        outcome = Text(finding.outcome.value, style=_STYLES[finding.outcome])
        table.add_row(finding.rule.value, outcome, Text(finding.detail))
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="", box=None, pad_edge=True, header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
