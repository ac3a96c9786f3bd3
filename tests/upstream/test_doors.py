"""The doors by which a query leaves: `dial` judges, `plain` has its zones, `portal` has its end."""

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
    assert found == {"upstream/tcp.py", "upstream/clear.py", "forward/ourselves.py"}


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


def importers_of(module: str) -> dict[str, set[str]]:
    """Who imports from a module, and what."""
    found: dict[str, set[str]] = {}
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == module:
                found.setdefault(str(path.relative_to(ROOT)), set()).update(alias.name for alias in node.names)
            if isinstance(node, ast.ImportFrom) and f"{node.module}.{node.names[0].name}" == module:
                found.setdefault(str(path.relative_to(ROOT)), set()).add("*")
    return found


def test_two_doors_lead_into_the_clear() -> None:
    """Plain DNS is written for two exchangers, each with a fence of its own; others read a counter or an address."""
    importers = importers_of("stubresolver.upstream.clear")
    assert importers.pop("upstream/plain.py") == {"Door", "Unanswered", "ask_once"}
    assert importers.pop("forward/ourselves.py") == {"socket_address"}
    assert all(names == {"SENT"} for names in importers.values())


def test_what_is_written_in_clear_was_let_out_and_counted() -> None:
    """In the module that writes, each write follows a look at the door in the same function, with nothing between."""
    body = ast.parse((ROOT / "upstream" / "clear.py").read_text("utf-8"))
    writes = 0
    for function in ast.walk(body):
        if isinstance(function, ast.AsyncFunctionDef):
            lines = [ast.unparse(node) for node in ast.walk(function) if isinstance(node, ast.Expr)]
            for number, line in enumerate(lines):
                if ".send" in line:
                    writes += 1
                    assert lines[number - 1] == "_let_out(wire, door)"
    assert writes == 2
    assert sum(ast.unparse(node).count("SENT.queries += 1") for node in body.body) == 1


def test_who_opens_the_third_door() -> None:
    """The portal's exchanger is made in one place, which a person's command leads to, and by nothing that is asked."""
    assert set(importers_of("stubresolver.upstream.portal")) <= {"portal.py"}


def test_what_looks_at_addresses_sends_nothing() -> None:
    """Connecting a datagram socket puts no packet on any wire; nothing is written to it."""
    called = {
        node.func.attr
        for node in ast.walk(ast.parse((ROOT / "forward" / "ourselves.py").read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    assert called == {"socket", "connect", "getsockname"}
