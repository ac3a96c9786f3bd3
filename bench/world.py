"""The one upstream of all: dnsdist with a certificate of the lab, which answers every question by itself.

It answers from a rule, without a backend, so that it costs less than any resolver in front of it; its chain, log list
and the policy that accepts them are made anew for each run, dated now. Where some names must never be answered, the
lab's own server takes its place: dnsdist would close the connection.
"""

import contextlib
import multiprocessing
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import trio

from bench.process import Program, free_port
from stubresolver.lab.authority import Credential
from stubresolver.lab.servers import DotServer
from stubresolver.lab.world import NAME, World

_POLICY = """
[anchors]
source = "anchors.pem"

[issuers]
allow = [{{ name = "Lab CA Root", spki_sha256 = "{spki}" }}]
"""

# SpoofAction answers A questions by itself; what else a resolver may ask (NS and DNSKEY of the root) gets an empty
# answer. An hour of TTL outlasts the run.
_DNSDIST = """
setLocal("127.0.0.1:{plain}")
setMaxTCPClientThreads(2)
setMaxTCPConnectionsPerClient(0)
setSecurityPollSuffix("")
addTLSLocal("127.0.0.1:{dot}", "chain.pem", "key.pem", {{minTLSVersion="tls1.3"}})
addDOHLocal("127.0.0.1:{doh}", "chain.pem", "key.pem", "/dns-query", {{minTLSVersion="tls1.3"}})
addAction(AllRule(), SpoofAction({{"192.0.2.1"}}, {{ttl=3600}}))
addAction(AllRule(), RCodeAction(DNSRCode.NOERROR))
"""

_ADDRESS = b"\xc0\x0c\0\1\0\1\0\0\x0e\x10\0\4\xc0\0\2\1"  # an A record at the question's name, an hour, 192.0.2.1


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
    credential, upstream = _write_files(folder, free_port(), free_port())
    plain = free_port()
    (folder / "chain.pem").write_bytes(credential.chain_pem)
    (folder / "key.pem").write_bytes(credential.key_pem)
    (folder / "dnsdist.conf").write_text(_DNSDIST.format(plain=plain, dot=upstream.dot_port, doh=upstream.doh_port))
    command = ["dnsdist", "--supervised", "--disable-syslog", "-C", "dnsdist.conf"]
    with Program("dnsdist", command, folder) as program:
        program.wait_until_it_answers(plain)
        program.wait_until_it_accepts(upstream.dot_port)
        program.wait_until_it_accepts(upstream.doh_port)
        yield upstream


@contextlib.contextmanager
def serve_lab_upstream(folder: Path, silent: bytes) -> Iterator[Upstream]:
    """Run the lab's server, DoT alone, which never answers a question that holds these octets."""
    credential, upstream = _write_files(folder, free_port(), 0)

    def answer(query: bytes) -> bytes | None:
        if silent in query:
            return None
        end = query.index(b"\0\0\1\0\1", 12) + 5
        return query[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + query[12:end] + _ADDRESS

    server = DotServer(credential, answer, port=upstream.dot_port)
    # a process of its own, as dnsdist is; forked, because a credential is no value that can be sent
    process = multiprocessing.get_context("fork").Process(target=trio.run, args=(server.serve,), daemon=True)
    process.start()
    try:
        yield upstream
    finally:
        process.terminate()
        process.join()


def _write_files(folder: Path, dot: int, doh: int) -> tuple[Credential, Upstream]:
    """A world of today, and the files of whoever wants to verify it."""
    world = World(datetime.now(UTC))
    (folder / "anchors.pem").write_bytes(world.anchors_pem)
    (folder / "log_list.json").write_bytes(world.log_list_json)
    (folder / "policy.toml").write_text(_POLICY.format(spki=world.lab.root_spki_sha256))
    return world.issue(), Upstream(
        dot, doh, NAME, folder / "anchors.pem", folder / "policy.toml", folder / "log_list.json"
    )
