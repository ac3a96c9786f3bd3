"""Two doors by which a query leaves, and no third: `dial`, which judges, and `plain`, which has its zones."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2] / "stubresolver"
ROOMS = ("wire", "cache", "local", "resolve", "transport", "upstream", "forward", "evidence", "verify", "ct")
OPENERS = {"socket", "open_tcp_stream", "open_tcp_listeners", "create_connection", "open_ssl_over_tcp_stream"}


def opens_sockets(path: Path) -> bool:
    """Whether a module imports `socket`, or reaches for one through trio."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import) and any(alias.name.split(".")[0] == "socket" for alias in node.names):
            return True
        if isinstance(node, ast.ImportFrom) and node.module in {"socket", "trio.socket"}:
            return True
        if isinstance(node, ast.Attribute) and node.attr in OPENERS and isinstance(node.value, ast.Name):
            return True
    return False


def test_two_doors_lead_out() -> None:
    """Of all rooms that a query passes through, these files alone can open a socket; the third sends nothing."""
    paths = (path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py")))
    found = {str(path.relative_to(ROOT)) for path in paths if opens_sockets(path)}
    assert found == {"upstream/dial.py", "upstream/plain.py", "forward/ourselves.py"}


def test_what_looks_at_addresses_sends_nothing() -> None:
    """Connecting a datagram socket puts no packet on any wire; nothing is written to it."""
    called = {
        node.func.attr
        for node in ast.walk(ast.parse((ROOT / "forward" / "ourselves.py").read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    assert called == {"socket", "connect", "getsockname"}
