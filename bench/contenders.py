"""Who is measured, each as a forwarder to the one upstream in like-for-like configuration.

One thread or instance, cache on, no DNSSEC validation, no log, TLS with the upstream's certificate verified against the
lab's roots by address and name. Nothing else is tuned: what is left is each program's default. Debian's packages.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.process import Program, free_port
from bench.world import Upstream

_ROOT = Path(__file__).resolve().parent.parent

_STUBRESOLVER = """
upstreams = ["{upstream}"]
[listen]
addresses = ["127.0.0.1:{port}"]
[trust]
policy = "{policy}"
log_list = "{log_list}"
[evidence]
file = "evidence.sqlite3"
"""

# do-not-query-localhost would refuse the upstream. The defaults of 1.17 keep TLS streams open and pipeline on them.
_UNBOUND = """
server:
  interface: 127.0.0.1@{port}
  num-threads: 1
  module-config: "iterator"
  do-not-query-localhost: no
  tls-cert-bundle: "{anchors}"
  qname-minimisation: no
  username: ""
  chroot: ""
  directory: "{folder}"
  pidfile: ""
  do-daemonize: no
  use-syslog: no
  verbosity: 0
remote-control:
  control-enable: no
forward-zone:
  name: "."
  forward-tls-upstream: yes
  forward-addr: 127.0.0.1@{dot_port}#{name}
"""

_KNOT = """
log_level('crit')
net.listen('127.0.0.1', {port}, {{ kind = 'dns' }})
trust_anchors.remove('.')
modules.unload('ta_update')
modules.unload('ta_signal_query')
modules.unload('priming')
modules.unload('detect_time_jump')
cache.size = 100 * MB
policy.add(policy.all(policy.TLS_FORWARD({{
    {{ '127.0.0.1@{dot_port}', hostname = '{name}', ca_file = '{anchors}' }}
}})))
"""

_STUBBY = """
resolution_type: GETDNS_RESOLUTION_STUB
dns_transport_list: [GETDNS_TRANSPORT_TLS]
tls_authentication: GETDNS_AUTHENTICATION_REQUIRED
tls_ca_file: "{anchors}"
tls_query_padding_blocksize: 128
edns_client_subnet_private: 1
idle_timeout: 10000
listen_addresses: [127.0.0.1@{port}]
upstream_recursive_servers:
  - address_data: 127.0.0.1
    tls_port: {dot_port}
    tls_auth_name: "{name}"
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """How to start one contender: what to run, and the files it reads (name to content)."""

    command: tuple[str, ...]
    files: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


Planner = Callable[[int, Upstream, Path], Plan]
"""(port to listen on, upstream, own folder) -> plan."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One program in one role."""

    name: str
    program: str
    package: str  # Debian's, for the message if it is missing; "" for ourselves
    plan: Planner


class Running(Program):
    """A started contender and the port on which it answers."""

    def __init__(self, contender: Contender, upstream: Upstream, folder: Path) -> None:
        """Write its files into `folder`, start it; `wait_until_ready` before the first measurement."""
        folder.mkdir(exist_ok=True)
        self.port = free_port()
        plan = contender.plan(self.port, upstream, folder)
        for name, content in plan.files.items():
            (folder / name).write_text(content)
        super().__init__(contender.name, plan.command, folder, plan.environment)

    def wait_until_ready(self) -> float:
        """Seconds from the start of the process to its first answer."""
        return self.wait_until_it_answers(self.port)


def _stubresolver(url: str, port: int, upstream: Upstream) -> Plan:
    config = _STUBRESOLVER.format(upstream=url, port=port, policy=upstream.policy, log_list=upstream.log_list)
    command = (sys.executable, "-m", "stubresolver", "run", "--config", "stubresolver.toml")
    return Plan(command, {"stubresolver.toml": config}, {"PYTHONPATH": str(_ROOT)})


def _stubresolver_dot(port: int, upstream: Upstream, _folder: Path) -> Plan:
    return _stubresolver(f"tls://127.0.0.1:{upstream.dot_port}#{upstream.name}", port, upstream)


def _stubresolver_doh(port: int, upstream: Upstream, _folder: Path) -> Plan:
    return _stubresolver(f"https://127.0.0.1:{upstream.doh_port}/dns-query#{upstream.name}", port, upstream)


def _unbound(port: int, upstream: Upstream, folder: Path) -> Plan:
    return Plan(("unbound", "-d", "-c", "unbound.conf"), {"unbound.conf": _filled(_UNBOUND, port, upstream, folder)})


def _knot(port: int, upstream: Upstream, folder: Path) -> Plan:
    return Plan(("kresd", "-n", "-c", "kresd.conf", "."), {"kresd.conf": _filled(_KNOT, port, upstream, folder)})


def _stubby(port: int, upstream: Upstream, folder: Path) -> Plan:
    return Plan(("stubby", "-C", "stubby.yml"), {"stubby.yml": _filled(_STUBBY, port, upstream, folder)})


def _dnss(port: int, upstream: Upstream, _folder: Path) -> Plan:
    command = (
        "dnss",
        "-enable_dns_to_https",
        f"-dns_listen_addr=127.0.0.1:{port}",
        f"-https_upstream=https://127.0.0.1:{upstream.doh_port}/dns-query",
        "-fallback_upstream=127.0.0.1:9",  # discard: nothing is to be resolved beside the upstream
    )
    # crypto/x509: SSL_CERT_FILE names the roots. GOMAXPROCS is 1 as every other contender has one thread.
    return Plan(command, environment={"SSL_CERT_FILE": str(upstream.anchors), "GOMAXPROCS": "1"})


def _filled(template: str, port: int, upstream: Upstream, folder: Path) -> str:
    return template.format(
        port=port, folder=folder, anchors=upstream.anchors, dot_port=upstream.dot_port, name=upstream.name
    )


STUBRESOLVER = Contender("stubresolver", sys.executable, "", _stubresolver_dot)
STUBRESOLVER_DOH = Contender("stubresolver", sys.executable, "", _stubresolver_doh)
UNBOUND = Contender("unbound", "unbound", "unbound", _unbound)
KNOT = Contender("knot-resolver", "kresd", "knot-resolver", _knot)
STUBBY = Contender("stubby", "stubby", "stubby", _stubby)
DNSS = Contender("dnss", "dnss", "dnss", _dnss)
