"""Two providers with certificates of different CAs, as the running service asks them: one at a time."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from stubresolver.lab.authority import LabAuthority
from stubresolver.lab.servers import DotServer
from stubresolver.lab.world import World
from tests.interop.clients import ask
from tests.interop.labserver import running
from tests.interop.programs import free_port, start, wait_until
from tests.interop.service import Service, write_files


@dataclass
class Provider:
    """A provider's server, and its file."""

    server: DotServer
    upstream: str
    file: Path

    def allow(self, authority: LabAuthority) -> None:
        """Who may issue for it from the next reload on."""
        self.file.write_text(
            f'name = "{self.file.stem}"\nupstreams = ["{self.upstream}"]\n'
            f'[issuers]\nallow = [{{ name = "Lab", spki_sha256 = "{authority.root_spki_sha256}" }}]\n'
        )

    @property
    def asked(self) -> int:
        """Octets of queries that it has read."""
        return self.server.tally.application_octets


@dataclass
class Standing:
    """The service with its two providers."""

    first: Provider
    second: Provider
    service: Service
    names: int = 0

    def ask(self) -> str:
        """Ask for a name that nobody has asked for yet; the status."""
        self.names += 1
        return ask("dig", self.service.port, f"n{self.names}.example.lab", "A").status


@pytest.fixture
def stand(world: World, need: Callable[..., None], tmp_path: Path) -> Iterator[Callable[..., Standing]]:
    """Start both servers and the service; `shown` are the CAs that their certificates are from."""
    need("dig")
    with ExitStack() as stack:

        def make(*shown: LabAuthority) -> Standing:
            found = []
            for number, (name, own, authority) in enumerate(
                zip(("First", "Second"), (world.leaky, world.lab), shown, strict=True), start=1
            ):
                address = IPv4Address(f"127.0.0.{number}")
                credential = world.issue(authority=authority, addresses=(address,))
                server = DotServer(credential, world.zone.answer, address=address)
                port = stack.enter_context(running(server))
                found.append(Provider(server, f"tls://{address}:{port}#dns.lab", tmp_path / f"{name}.toml"))
                found[-1].allow(own)

            def service() -> Service:
                port = free_port()
                file = write_files(tmp_path, world, [], listen=f"127.0.0.1:{port}")
                file.write_text(file.read_text().replace("upstreams = []", 'providers = ["First.toml", "Second.toml"]'))
                return Service(file, port)

            standing = Standing(*found, start(service))
            stack.callback(standing.service.program.end)
            return standing

        yield make


def test_the_next_provider_sees_nothing_while_the_first_is_fine(world, stand):
    """From a reload on that forbids the first its CA, the second is asked and the first no more; and back again."""
    standing = stand(world.leaky, world.lab)
    first, second, service = standing.first, standing.second, standing.service
    assert {standing.ask() for _ in range(10)} == {"NXDOMAIN"}
    assert first.asked > 0
    assert second.asked == 0
    assert (
        f"First: {first.upstream}: {first.file} on top of {service.folder / 'policy.toml'}: ct: 2 SCTs" in service.log
    )
    first.allow(world.lab)
    service.reload("reloaded: ")
    assert f"{first.upstream}: judged again: REFUSED, no more queries are sent: issuer.allowed" in service.log
    before = first.asked
    assert {standing.ask() for _ in range(10)} == {"NXDOMAIN"}
    assert first.asked == before
    assert second.asked > 0
    first.allow(world.leaky)
    service.reload("reloaded: ")

    def is_back() -> bool:
        assert standing.ask() == "NXDOMAIN"
        return first.asked > before

    wait_until(is_back, 5, "the first provider")
    before = second.asked
    assert {standing.ask() for _ in range(10)} == {"NXDOMAIN"}
    assert second.asked == before


def test_the_ca_of_one_provider_gains_nothing_at_the_other(world, stand):
    """Certificates that are good in every respect, each from the CA that only the other may have: nobody is asked."""
    standing = stand(world.lab, world.leaky)
    assert standing.ask() == "SERVFAIL"
    for provider in (standing.first, standing.second):
        wait_until(
            lambda upstream=provider.upstream: (
                f"{upstream}: REFUSED, no query was sent: issuer.allowed" in standing.service.log
            ),
            5,
            "the refusal",
        )
        assert provider.asked == 0
