"""The one upstream of all: dnsdist with a certificate of the lab, which answers every question by itself.

It answers from a rule, without a backend, so that it costs less than any resolver in front of it; its chain, log list
and the policy that accepts them are made anew for each run, dated now.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.process import Program, free_port
from stubresolver.lab.world import NAME, World

_POLICY = """
[anchors]
source = "anchors.pem"

[issuers]
allow = [{{ name = "Lab CA Root", spki_sha256 = "{spki}" }}]
"""

# SpoofAction answers A questions by itself; what else a resolver may ask (NS and DNSKEY of the root) gets an empty
# answer; what is below silent.lab gets none. An hour of TTL outlasts the run.
_DNSDIST = """
setLocal("127.0.0.1:{plain}")
setMaxTCPClientThreads(2)
setMaxTCPConnectionsPerClient(0)
setSecurityPollSuffix("")
addTLSLocal("127.0.0.1:{dot}", "chain.pem", "key.pem", {{minTLSVersion="tls1.3"}})
addDOHLocal("127.0.0.1:{doh}", "chain.pem", "key.pem", "/dns-query", {{minTLSVersion="tls1.3"}})
addAction(makeRule("silent.lab."), DropAction())
addAction(AllRule(), SpoofAction({{"192.0.2.1"}}, {{ttl=3600}}))
addAction(AllRule(), RCodeAction(DNSRCode.NOERROR))
"""


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where the upstream listens, and the files of whoever wants to verify it."""

    dot_port: int
    doh_port: int
    name: str  # authentication name; 127.0.0.1 is in the certificate too
    anchors: Path  # PEM
    policy: Path
    log_list: Path


@contextlib.contextmanager
def serve_upstream(folder: Path) -> Iterator[Upstream]:
    """Run the upstream while the block runs."""
    world = World(datetime.now(UTC))
    credential = world.issue()
    plain, dot, doh = free_port(), free_port(), free_port()
    (folder / "chain.pem").write_bytes(credential.chain_pem)
    (folder / "key.pem").write_bytes(credential.key_pem)
    (folder / "anchors.pem").write_bytes(world.anchors_pem)
    (folder / "log_list.json").write_bytes(world.log_list_json)
    (folder / "policy.toml").write_text(_POLICY.format(spki=world.lab.root_spki_sha256))
    (folder / "dnsdist.conf").write_text(_DNSDIST.format(plain=plain, dot=dot, doh=doh))
    command = ["dnsdist", "--supervised", "--disable-syslog", "-C", "dnsdist.conf"]
    with Program("dnsdist", command, folder) as program:
        program.wait_until_it_answers(plain)
        program.wait_until_it_accepts(dot)
        program.wait_until_it_accepts(doh)
        yield Upstream(dot, doh, NAME, folder / "anchors.pem", folder / "policy.toml", folder / "log_list.json")
