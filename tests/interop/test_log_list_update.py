"""A log list from the web, by names that our own upstream resolves, into a service that runs."""

import json
from dataclasses import replace
from datetime import timedelta

from stubresolver.lab.logs import log_list_json
from stubresolver.lab.servers import DotServer
from tests.cli.logs_world import Signer
from tests.cli.webserver import serving
from tests.interop.clients import ask
from tests.interop.labserver import running
from tests.interop.service import run_command


def test_a_list_from_the_web_reaches_the_service(world, run_service, tmp_path) -> None:
    """Fetched by name over the verified upstream, told what it would refuse, installed, taken over by a reload."""
    later = world.now + timedelta(minutes=1)
    logs = [replace(log, state="rejected", since=later) if log is world.birch1 else log for log in world.logs]
    listed, signer = log_list_json(logs, now=later, version="later"), Signer()
    pages = {"/ct/list.json": listed, "/ct/list.json.sig": signer.sign(listed)}
    dot, web = DotServer(world.issue(), world.zone.answer), world.issue()
    with running(dot) as dot_port, serving(web, pages, tmp_path) as web_port:
        upstream = f"tls://127.0.0.1:{dot_port}#dns.lab"
        more = f'[logs]\nsources = ["https://dns.lab:{web_port}/ct/list.json"]\nkeys = ["ours.pem"]\n'
        service = run_service([upstream], more)
        (service.folder / "ours.pem").write_bytes(signer.public_pem)
        assert ask("dig", service.port, "example.lab", "A").status == "NOERROR"
        before = (service.folder / "logs.json").read_bytes()
        arguments = ("logs", "update", "--config", "stubresolver.toml", "--web-anchors", "anchors.pem")

        shown = run_command(service.folder, *arguments)
        assert shown.returncode == 0
        assert f"{upstream}: would be REFUSED by the new list: ct.scts: 1 of 2" in shown.stdout
        assert (service.folder / "logs.json").read_bytes() == before

        done = run_command(service.folder, *arguments, "--yes", "--json")
        assert (done.returncode, done.stderr) == (0, "")
        facts = json.loads(done.stdout)
        assert (facts["result"], facts["sources"][0]["vouched"]) == ("applied", "ours.pem")
        assert ask("dig", service.port, "www.example.lab", "A").status == "NOERROR"
        service.reload("reloaded: ")
        assert "REFUSED, no more queries are sent: ct.scts: 1 of 2" in service.log

        back = run_command(service.folder, "logs", "rollback", "--config", "stubresolver.toml", "--yes")
        assert back.returncode == 0
        assert (service.folder / "logs.json").read_bytes() == before
        service.reload("reloaded: ")
        assert ask("dig", service.port, "mail.example.lab", "A").status == "NOERROR"
