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
    """Of all rooms that a query passes through, these files alone can open a socket; the last sends nothing."""
    paths = (path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py")))
    found = {str(path.relative_to(ROOT)) for path in paths if opens_sockets(path)}
    assert found == {"upstream/tcp.py", "upstream/plain.py", "forward/ourselves.py"}


def test_only_the_first_door_connects() -> None:
    """What `tcp` opens is handed to `dial` and to nobody else, in the whole package."""
    importers = {
        str(path.relative_to(ROOT))
        for path in ROOT.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if (isinstance(node, ast.ImportFrom) and node.module == "stubresolver.upstream.tcp")
        or (isinstance(node, ast.ImportFrom) and any(alias.name == "tcp" for alias in node.names))
        or (isinstance(node, ast.Import) and any(alias.name == "stubresolver.upstream.tcp" for alias in node.names))
    }
    assert importers == {"upstream/dial.py"}


def test_what_looks_at_addresses_sends_nothing() -> None:
    """Connecting a datagram socket puts no packet on any wire; nothing is written to it."""
    called = {
        node.func.attr
        for node in ast.walk(ast.parse((ROOT / "forward" / "ourselves.py").read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    assert called == {"socket", "connect", "getsockname"}
