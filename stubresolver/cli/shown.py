"""A verdict as people read it: the chain, each SCT, each rule, and one line that says it all.

Everything that is shown goes through `clean`: neither a certificate nor a file from somewhere else may steer a
terminal, and nothing is markup.
"""

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from stubresolver.ct import SctStatus
from stubresolver.errors import BadInput
from stubresolver.exported import Exported
from stubresolver.verify import Outcome, Presented, UnreadableCertificate, Verdict, printable
from stubresolver.verify.certificate import read_certificate

_LONGEST = 2000  # characters of one text; what a rule finds has a few hundred
_STYLES = {Outcome.PASS: "green", Outcome.FAIL: "bold red", Outcome.NOTE: "dim"}


def show_verdict(console: Console, title: str, presented: Presented, verdict: Verdict) -> None:
    """Print one verdict whole."""
    console.print(clean(title, style="bold"))
    if presented.tls is not None:
        facts = (presented.tls.version, presented.tls.cipher, presented.tls.group or "group unknown")
        console.print(clean("  " + ", ".join(facts), style="dim"))
    if verdict.path:
        console.print(_path_table(verdict))
    if verdict.scts:
        console.print(_sct_table(verdict))
    console.print(_rule_table(verdict))
    console.print(verdict_line(verdict), soft_wrap=True)  # one line, for grep too


def clean(text: str, style: str = "") -> Text:
    """A text as it is shown: no markup, and without characters that steer a terminal."""
    return Text(printable(text, _LONGEST), style=style)


def verdict_line(verdict: Verdict) -> Text:
    """ALLOWED or REFUSED, and why; what is only reported on says so itself."""
    if verdict.connects and not verdict.allowed:
        return clean(verdict.summary, style="bold yellow")
    word, style = ("ALLOWED", "bold green") if verdict.allowed else ("REFUSED", "bold red")
    return Text.assemble((word, style), "  ", clean(verdict.summary))


def kept_verdict(exported: Exported) -> Verdict:
    """The verdict as it was kept; raises `BadInput` where it has something in it that this version does not know."""
    try:
        return msgspec.convert(msgspec.json.decode(exported.verdict), Verdict)
    except (msgspec.MsgspecError, ValueError) as error:
        raise BadInput(f"the kept verdict cannot be read: {error}") from None


def chain_facts(chain: tuple[bytes, ...]) -> list[dict[str, str]]:
    """What was presented, certificate by certificate, leaf first."""
    facts = []
    for der in chain:
        try:
            found = read_certificate(der)
        except UnreadableCertificate as error:
            facts.append({"unreadable": printable(str(error))})
            continue
        facts.append(
            {
                "subject": found.subject,
                "issuer": found.issuer,
                "serial": f"{found.serial:x}",
                "not_before": found.not_before.isoformat().replace("+00:00", "Z"),
                "not_after": found.not_after.isoformat().replace("+00:00", "Z"),
                "sha256": found.sha256,
                "spki_sha256": found.spki_sha256.hex(),
            }
        )
    return facts


def show_chain(console: Console, chain: tuple[bytes, ...]) -> None:
    """Print what was presented, leaf first."""
    table = make_table("Presented", "Certificate", "Issuer", "Serial", "Valid", "SPKI SHA-256")
    for facts in chain_facts(chain):
        if "unreadable" in facts:
            table.add_row(clean(f"unreadable: {facts['unreadable']}", style="red"), "", "", "", "")
            continue
        valid = f"{facts['not_before'][:10]} to {facts['not_after'][:10]}"
        texts = (facts["subject"], facts["issuer"], facts["serial"], valid, facts["spki_sha256"][:16] + "…")
        table.add_row(*map(clean, texts))
    console.print(table)


def make_table(title: str, *columns: str) -> Table:
    """An empty table of the house style."""
    table = Table(title=title, title_justify="left", title_style="", box=None, pad_edge=True, header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _path_table(verdict: Verdict) -> Table:
    table = make_table("Verified path", "Certificate", "Valid until", "SPKI SHA-256")
    for certificate in verdict.path:
        texts = (certificate.subject, certificate.not_after[:10], certificate.spki_sha256[:16] + "…")
        table.add_row(*map(clean, texts))
    return table


def _sct_table(verdict: Verdict) -> Table:
    table = make_table("Embedded SCTs", "Log", "Operator", "Signed", "Status")
    for sct in verdict.scts:
        style = "green" if sct.status is SctStatus.VALID else "red"
        log = sct.log or (f"unknown log {sct.log_id[:12]}…" if sct.log_id else "unreadable")
        table.add_row(clean(log), clean(sct.operator), clean(sct.timestamp[:19]), clean(sct.status.value, style=style))
    return table


def _rule_table(verdict: Verdict) -> Table:
    table = make_table("Rules", "Rule", "Outcome", "Found")
    for finding in verdict.findings:
        outcome = clean(finding.outcome.value, style=_STYLES[finding.outcome])
        table.add_row(finding.rule.value, outcome, clean(finding.detail))
    return table
