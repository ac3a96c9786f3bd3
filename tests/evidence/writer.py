"""A process that writes evidence and is killed: started by test_crash.py, once for many kills.

Reads a line from stdin: the path of a file and a number to begin with. For each it forks, tells the child's process id,
and the child keeps judgements, each with another chain, and tells each id after `record` has returned. When the child
is dead it says so.
"""

import os
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from itertools import count
from pathlib import Path

from stubresolver.evidence import EvidenceStore
from stubresolver.lab.world import NAME, World
from stubresolver.verify import Presented, TlsFacts, Verifier

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
TLS = TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384", "X25519MLKEM768", "dot", openssl_error=None)


def tell(line: str) -> None:
    """One line in one write, so that a kill leaves no half of it (pipe(7): up to PIPE_BUF octets are atomic)."""
    os.write(1, line.encode() + b"\n")


def write(world: World, path: Path, start: int, maximum: int) -> None:
    """Keep judgements until killed: two refused ones, then one that is allowed and changes the upstream's key."""
    verifier = Verifier(world.policy, world.log_list)
    honest = [Presented(ip_address("127.0.0.1"), NAME, world.issue().chain, TLS) for _ in range(2)]
    store = EvidenceStore(path, maximum_octets=maximum)
    store.keep_demands(world.policy, world.log_list)
    for number in count(start):
        # the honest ones differ by their handshake: each record is a new one
        honestly = replace(honest[number % 2], tls=replace(TLS, cipher=f"cipher {number}"))
        refused = replace(honest[0], chain=(b"%d" % number + bytes(2000),))
        upstream, shown = ("tls://[::1]#dns.lab", refused) if number % 3 else ("tls://127.0.0.1#dns.lab", honestly)
        kept = store.record(upstream, shown, verifier.judge(shown, NOW + timedelta(seconds=number)))
        tell(kept.id)


def main() -> None:
    """Fork for each line of stdin."""
    world = World(NOW)
    tell("ready")
    for line in sys.stdin:
        path, start, maximum = line.split("\t")
        child = os.fork()
        if child == 0:
            write(world, Path(path), int(start), int(maximum))
        tell(str(child))
        os.waitpid(child, 0)
        tell("dead")


if __name__ == "__main__":
    main()
