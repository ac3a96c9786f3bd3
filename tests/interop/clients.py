"""Dig and kdig, and what they print, read back."""

import re
import subprocess
from dataclasses import dataclass

_TIMEOUT = 6  # seconds; the resolver says why it has no answer after four

_COMMANDS = {
    # no ~/.digrc, no IDN (it lowers letters); one try, so that a lost answer is seen and not asked for again
    "dig": ["dig", "-r", f"+time={_TIMEOUT}", "+tries=1", "+nocmd"],
    "kdig": ["kdig", "+noidn", f"+timeout={_TIMEOUT}", "+retry=0"],
}
TOOLS = tuple(_COMMANDS)


@dataclass(frozen=True)
class Reply:
    """One answer as the program shows it."""

    text: str

    @property
    def status(self) -> str:
        """NOERROR, NXDOMAIN, SERVFAIL ..."""
        return self._found(r"status: (\w+)")

    @property
    def flags(self) -> set[str]:
        """Of the header: qr, rd, ra, tc ..."""
        return set(self._found(r";; [Ff]lags: ([a-z ]*);").split())

    @property
    def edns(self) -> bool:
        """True if the answer has an OPT record."""
        return "OPT PSEUDOSECTION" in self.text or "EDNS PSEUDOSECTION" in self.text

    @property
    def dnssec_ok(self) -> bool:
        """True if the answer's OPT record has the DO bit."""
        return re.search(r"[Vv]ersion: 0[,;] flags:[a-z ]*\bdo\b", self.text) is not None

    @property
    def extended_error(self) -> str:
        """Of RFC 8914, as the program words it; "" if there is none."""
        found = re.search(r"^;;? ?EDE: (.*)$", self.text, re.MULTILINE)
        return found[1].strip() if found else ""

    @property
    def over_tcp(self) -> bool:
        """True if the answer that is shown came by TCP."""
        found = re.search(r"^;; (?:SERVER|From):? .*\((UDP|TCP)\)", self.text, re.MULTILINE)
        assert found, self.text
        return found[1] == "TCP"

    @property
    def question(self) -> str:
        """The name of the question, without its final dot, in the letters that came back."""
        return self._found(r"QUESTION SECTION:\n;;? ?(\S+?)\.\s")

    def records(self, section: str = "ANSWER") -> list[tuple[str, str, str]]:
        """(owner, type, data) of each record of a section."""
        found = re.search(rf"^;; {section} SECTION:\n(.*?)(?:\n\n|\Z)", self.text, re.MULTILINE | re.DOTALL)
        rows = [line.split(None, 4) for line in found[1].splitlines()] if found else []
        return [(owner.removesuffix("."), kind, data) for owner, _ttl, _class, kind, data in rows]

    def _found(self, pattern: str) -> str:
        found = re.search(pattern, self.text)
        assert found, f"{pattern!r} is not in:\n{self.text}"
        return found[1]


def ask(tool: str, port: int, *arguments: str, prefix: tuple[str, ...] = ()) -> Reply:
    """The one reply that a tool of `TOOLS` prints."""
    (reply,) = ask_all(tool, port, *arguments, prefix=prefix)
    return reply


def ask_all(tool: str, port: int, *arguments: str, prefix: tuple[str, ...] = ()) -> list[Reply]:
    """Every reply that the tool prints, in order."""
    command = [*prefix, *_COMMANDS[tool], "@127.0.0.1", "-p", str(port), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    parts = re.split(r"(?m)^(?=;; ->>HEADER<<-)", done.stdout)
    assert len(parts) > 1, f"{' '.join(command)}: status {done.returncode}\n{done.stdout}{done.stderr}"
    return [Reply(part) for part in parts[1:]]
