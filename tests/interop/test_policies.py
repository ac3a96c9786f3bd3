"""What an administrator says of single upstreams and of modes, as the running service does it."""

from dataclasses import replace

import pytest

from stubresolver.lab.rogues import GALLERY
from stubresolver.lab.servers import DotServer
from tests.interop.clients import ask
from tests.interop.labserver import running
from tests.interop.programs import wait_until
from tests.interop.service import run_command
from tests.verify.responder import GOOD, REVOKED, staple

REPORT = '[policy]\nmode = "report"\n'


def test_private_ca_without_ct_is_a_policy_of_its_own(world, run_service):
    """The company's upstream may go without CT by its own policy; the public one may not; status says `ct: off`."""
    unlogged = world.issue(())
    with (
        running(DotServer(unlogged, world.zone.answer)) as corp,
        running(DotServer(unlogged, world.zone.answer)) as other,
    ):
        upstreams = [f"tls://127.0.0.1:{port}#dns.lab" for port in (other, corp)]
        service = run_service(
            upstreams, f'[trust.upstreams]\n"{upstreams[1]}" = "corp.toml"\n', corp="[ct]\nrequired = false\n"
        )
        assert ask("dig", service.port, "example.lab", "A").status == "NOERROR"
        wait_until(lambda: f"{upstreams[0]}: REFUSED" in service.log, 5, "the refusal")
        assert f"{upstreams[1]}: {service.folder / 'corp.toml'}: ct: off, " in service.log
        assert f"{upstreams[0]}: {service.folder / 'policy.toml'}: ct: 2 SCTs" in service.log
        file = service.folder / "stubresolver.toml"
        shown = run_command(service.folder, "run", "--check", "--config", file).stdout
        assert f"upstream: {upstreams[1]}: {service.folder / 'corp.toml'}: ct: off" in shown
        shown = run_command(service.folder, "query", "example.lab", "--upstream", upstreams[1], "--config", file)
        assert (shown.returncode, ";; judged by" in shown.stdout, "ct: off" in shown.stdout) == (0, True, True)
        shown = run_command(service.folder, "check", "--config", file).stdout
        assert (shown.count("judged by "), shown.count("ct: off")) == (2, 1)


@pytest.mark.parametrize("code", ["fina", "no-scts", "wrong-address", "tls12"])
def test_report_mode_is_loud_and_answers(world, run_service, code):
    """Every start, every judgement and `run --check` say it; the user has an answer."""
    rogues = {each.code: each.server for each in GALLERY}
    rogues["tls12"] = lambda world: DotServer(world.issue(), world.zone.answer, tls12=True)
    with running(rogues[code](world)) as port:
        upstream = f"tls://127.0.0.1:{port}#dns.lab"
        service = run_service([upstream], policy=REPORT)
        assert ask("dig", service.port, "example.lab", "A").status == "NOERROR"
        assert f"REPORT MODE for {upstream}" in service.log
        assert f"{upstream}: REPORT ONLY, would be refused: " in service.log
        service.reload("reloaded: ")
        assert service.log.count(f"REPORT MODE for {upstream}") == 2
        assert f"{upstream}: judged again: REPORT ONLY, would be refused: " in service.log
        policy = service.folder / "policy.toml"
        policy.write_text(policy.read_text().replace("report", "enforce"))
        service.reload("reloaded: ")
        assert f"{upstream}: judged again: REFUSED, no more queries are sent: " in service.log
        assert ask("dig", service.port, "example.lab", "A").status == "SERVFAIL"
        # Where nothing is only reported, an old version does not come as far as a judgement.
        assert ("TLS handshake failed" in service.log) == (code == "tls12")


@pytest.mark.parametrize("status", [GOOD, REVOKED], ids=["good", "revoked"])
def test_staple_of_the_handshake_decides(world, run_service, status):
    """A server that staples that its certificate is revoked gets no query; one that staples that it is good does."""
    credential = world.issue()
    server = DotServer(replace(credential, staple=staple(world, credential.leaf, status)), world.zone.answer)
    with running(server) as port:
        service = run_service([f"tls://127.0.0.1:{port}#dns.lab"], policy='[revocation]\ncheck = "require-staple"\n')
        reply = ask("dig", service.port, "example.lab", "A")
    if status is GOOD:
        assert reply.status == "NOERROR"
    else:
        assert (reply.status, "revocation.staple: " in reply.extended_error) == ("SERVFAIL", True)
        assert server.tally.application_octets == 0


def test_other_key_is_an_event(world, run_service):
    """An upstream that comes with another key is told in one line, though it is allowed."""
    with running(DotServer(world.issue(), world.zone.answer)) as port:
        upstream = f"tls://127.0.0.1:{port}#dns.lab"
        service = run_service([upstream])
        assert ask("dig", service.port, "one.wild.lab", "A").status == "NOERROR"
    with running(DotServer(world.issue(), world.zone.answer, port=port)):
        wait_until(lambda: ask("dig", service.port, "two.wild.lab", "A").status == "NOERROR", 10, "an answer")
        assert f"{upstream}: leaf-key changed: " in service.log
