"""What the tests with other people's programs need: the programs, a world of this day, upstreams, resolvers.

The world is minted at the wall clock, because foreign programs have no other; nothing depends on which day that is.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stubresolver.lab.authority import Credential
from stubresolver.lab.world import World
from tests.interop.clients import TOOLS
from tests.interop.peers import Peer, start_dnsdist, start_kresd, start_unbound
from tests.interop.service import Service, start_service

# Program: the Debian package that has it. The conftest above turns a skip into a failure where nothing may lack.
REQUIRED = {
    "dig": "bind9-dnsutils",
    "kdig": "knot-dnsutils",
    "unbound": "unbound",
    "knotd": "knot",
    "kresd": "knot-resolver",
    "dnsdist": "dnsdist",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "ip": "iproute2",
}
UPSTREAMS = tuple(
    f"{program}-{transport}" for program in ("unbound", "kresd", "dnsdist") for transport in ("dot", "doh")
)


@pytest.fixture(scope="session")
def need() -> Iterator[Callable[..., None]]:
    """`need("unbound")` skips unless these programs are there."""

    def check(*programs: str) -> None:
        for program in programs:
            if shutil.which(program) is None:
                pytest.skip(f"needs Debian's {REQUIRED[program]} ({program})")

    with pytest.MonkeyPatch.context() as patch:
        # Debian keeps servers in /usr/sbin, which not every user's path has.
        patch.setenv("PATH", f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
        yield check


@pytest.fixture(scope="session")
def world() -> World:
    """The lab's authorities and logs, at this moment."""
    return World(datetime.now(UTC))


@pytest.fixture(scope="session")
def new_folder(world: World, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A folder with a credential for a server: the honest one unless another is given."""

    def make(credential: Credential | None = None) -> Path:
        folder = tmp_path_factory.mktemp("interop")
        chosen = credential or world.issue()
        (folder / "chain.pem").write_bytes(chosen.chain_pem)
        (folder / "key.pem").write_bytes(chosen.key_pem)
        return folder

    return make


@pytest.fixture(scope="session")
def unbound(need: Callable[..., None], new_folder: Callable[..., Path]) -> Iterator[Peer]:
    """Unbound, which holds the zone."""
    need("unbound")
    peer = start_unbound(new_folder())
    yield peer
    peer.program.end()


@pytest.fixture(scope="session")
def kresd(need: Callable[..., None], new_folder: Callable[..., Path], unbound: Peer) -> Iterator[Peer]:
    """Knot-resolver in front of it."""
    need("kresd")
    peer = start_kresd(new_folder(), unbound)
    yield peer
    peer.program.end()


@pytest.fixture(scope="session")
def dnsdist(need: Callable[..., None], new_folder: Callable[..., Path], unbound: Peer) -> Iterator[Peer]:
    """Dnsdist in front of it."""
    need("dnsdist")
    peer = start_dnsdist(new_folder(), unbound)
    yield peer
    peer.program.end()


@pytest.fixture(scope="session", params=UPSTREAMS)
def resolver(
    request: pytest.FixtureRequest, need: Callable[..., None], world: World, new_folder: Callable[..., Path]
) -> Iterator[Service]:
    """`stubresolver run` in front of each upstream, by each transport."""
    need("dig")
    program, _, transport = request.param.partition("-")
    peer = request.getfixturevalue(program)
    service = start_service(new_folder(), world, [getattr(peer, transport)])
    yield service
    end_well(service)


@pytest.fixture
def run_service(
    need: Callable[..., None], world: World, new_folder: Callable[..., Path]
) -> Iterator[Callable[..., Service]]:
    """`run_service(upstreams)`: `stubresolver run` in front of these, until the end of the test; see `write_files`."""
    need("dig")
    with ExitStack() as stack:

        def run(upstreams: Sequence[str], more: str = "", **policies: str) -> Service:
            named = {f"{name}.toml": added for name, added in policies.items()}
            service = start_service(new_folder(), world, upstreams, more, named)
            stack.callback(end_well, service)
            return service

        yield run


@pytest.fixture(params=TOOLS)
def tool(request: pytest.FixtureRequest, need: Callable[..., None]) -> str:
    """Each of the clients, in a test of its own."""
    name: str = request.param
    need(name)
    return name


@pytest.fixture
def tools(need: Callable[..., None]) -> tuple[str, ...]:
    """All clients, for tests whose resolver takes longer than their questions."""
    need(*TOOLS)
    return TOOLS


def end_well(service: Service) -> None:
    """SIGTERM; whatever was asked of it, it ends with status 0 and shows no traceback."""
    status = service.program.end()
    assert status == 0, service.program
    assert "Traceback" not in service.program.log, service.program
