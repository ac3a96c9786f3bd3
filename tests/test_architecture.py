"""The import rules of docs/design.md as data, held against every module of the package."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent / "stubresolver"
PACKAGE = "stubresolver"

# R1: each room stands above all that it may import. Rooms on one floor do not import each other.
FLOORS = (
    {"__main__"},
    {"cli"},
    {"lab", "app"},
    {"demands", "loglines", "surroundings", "portal", "statuspage", "contained"},
    {"trust", "recent"},
    {"config", "pinned", "localfiles"},
    {"serve", "control", "forward"},
    {"upstream", "audit"},
    {"evidence", "resolve", "selftest"},
    {"exported"},
    {"verify", "transport", "cache", "local", "systemd", "loglists", "web", "watched", "netwatch"},
    {"ct", "wire"},
    {"errors"},
)
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

# R2: rooms without a clock, a socket or a file.
PURE = (
    "wire", "ct", "verify", "exported", "transport", "cache", "local", "errors", "loglists",
    "upstream.answertime", "upstream.health", "upstream.networks", "upstream.order", "upstream.refusals",
    "upstream.soundness", "upstream.upstream", "upstream.server",
    "netwatch.netlink", "netwatch.change", "upstream.diagnosis",
)  # fmt: skip
IMPURE = {"trio", "socket", "ssl", "time", "os", "pathlib", "logging", "random", "asyncio"}

# R3: each third-party library has its doors.
DOORS = {
    "OpenSSL": ("transport.tls",),
    "h2": ("transport.doh",),
    "cryptography": ("ct", "verify", "loglists", "cli.main"),  # cli.main silences one of its warnings
    "dns": ("cli", "localfiles"),  # localfiles: static records are zone-file text
    "rich": ("cli",),
    "click": ("cli",),
    "certifi": ("config", "web"),
    "httpx": ("web",),
    "httpcore": ("web",),
    "ssl": ("web",),
    "sqlite3": ("evidence",),
    "ctypes": ("serve.batch", "netwatch.timer"),
    "mmap": ("serve.batch",),
}

# R4: the trust wing and the DNS wing do not know each other.
TRUST = {"ct", "verify", "exported", "evidence", "selftest", "loglists", "audit"}
DNS = {"wire", "cache", "local", "resolve"}

MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
    if path != ROOT / "__init__.py"
}


def tree(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text("utf-8"))


def imports(name: str) -> set[str]:
    """Every module that `name` imports, in full."""
    found = set()
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{name}: imports are absolute"
            found.add(node.module)
    return found


def within(name: str, places: tuple[str, ...]) -> bool:
    return any(name == place or name.startswith(place + ".") for place in places)


@pytest.mark.parametrize("name", MODULES)
def test_imports_run_downwards(name: str) -> None:
    """R1: a module imports only from its own room and from lower floors."""
    room = name.split(".", maxsplit=1)[0]
    for module in imports(name):
        if module.startswith(PACKAGE + "."):
            other = module.split(".")[1]
            if room == "lab":
                assert other != "cli", f"{name} imports {module}"
            elif other != room:
                assert FLOOR_OF[room] < FLOOR_OF[other], f"{name} imports {module}"


@pytest.mark.parametrize("name", [name for name in MODULES if within(name, PURE)])
def test_pure_rooms_know_no_world(name: str) -> None:
    """R2: no clock, no socket, no file below the trio line."""
    assert not {module.split(".")[0] for module in imports(name)} & IMPURE


@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith("lab")])
def test_libraries_come_in_by_their_doors(name: str) -> None:
    """R3: a third-party library is imported only where its door is."""
    for module in imports(name):
        places = DOORS.get(module.split(".")[0])
        assert places is None or within(name, places), f"{name} imports {module}"


@pytest.mark.parametrize("name", MODULES)
def test_wings_do_not_meet(name: str) -> None:
    """R4: neither wing imports the other."""
    room = name.split(".", maxsplit=1)[0]
    others = {module.split(".")[1] for module in imports(name) if module.startswith(PACKAGE + ".")}
    assert not (room in TRUST and others & DNS)
    assert not (room in DNS and others & TRUST)


@pytest.mark.parametrize("name", [name for name in MODULES if not within(name, ("cli", "systemd", "__main__"))])
def test_only_the_cli_prints_or_exits(name: str) -> None:
    """R5: no print, no exit, no environment outside cli and systemd."""
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Name):
            assert node.id not in {"print", "exit", "quit", "breakpoint"}, f"{name}:{node.lineno}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            spelled = f"{node.value.id}.{node.attr}"
            assert spelled not in {"sys.exit", "os.environ", "os.getenv", "os._exit"}, f"{name}:{node.lineno}"


@pytest.mark.parametrize("name", [name for name, path in MODULES.items() if path.name == "__init__.py"])
def test_package_faces_only_re_export(name: str) -> None:
    """R7: an __init__ file has a docstring, imports and __all__, nothing else."""
    for node in tree(name).body[1:]:
        assert isinstance(node, (ast.ImportFrom, ast.Assign)), f"{name}:{node.lineno}"
        if isinstance(node, ast.Assign):
            assert isinstance(node.targets[0], ast.Name)
            assert node.targets[0].id == "__all__"


@pytest.mark.parametrize("name", [name for name in MODULES if not within(name, ("cli", "upstream.dial", "systemd"))])
def test_nobody_below_asks_for_the_time(name: str) -> None:
    """R8: the wall clock is read in upstream/dial.py and in cli; everyone else is told."""
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Attribute):
            assert (
                node.attr not in {"now", "utcnow", "today"}
                or not isinstance(node.value, ast.Name)
                or (node.value.id not in {"datetime", "date"})
            ), f"{name}:{node.lineno}"
    assert "time" not in imports(name)


@pytest.mark.parametrize("name", MODULES)
def test_every_room_states_its_law(name: str) -> None:
    """Every module begins with a docstring, and none grows beyond 400 lines."""
    assert ast.get_docstring(tree(name)), name
    assert len(MODULES[name].read_text("utf-8").splitlines()) <= 400, name
