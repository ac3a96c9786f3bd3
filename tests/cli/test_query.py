"""`stubresolver query`."""

import json

from stubresolver.lab.rogues import GALLERY

ROGUES = {rogue.code: rogue for rogue in GALLERY}


def test_answer_is_shown_with_connection_and_verdict(run, files, start):
    """As dig shows it, and two lines about whom it came from."""
    _, port = start()
    outcome = run(
        "query", "example.lab", "MX", "--config", files.config, "--upstream", f"tls://127.0.0.1:{port}#dns.lab"
    )
    assert outcome.status == 0
    assert "status: NOERROR" in outcome.out
    assert "example.lab. 300 IN MX 10 mail.example.lab." in outcome.out
    assert f"tls://127.0.0.1:{port}#dns.lab, TLSv1.3, X25519MLKEM768" in outcome.out
    assert "ALLOWED: 2 valid SCTs (Alder, Birch)" in outcome.out


def test_json_over_doh(run, files, start):
    """--json: answer, connection and verdict in one object; a name that does not exist is an answer."""
    _, port = start(doh=True)
    upstream = f"https://127.0.0.1:{port}/dns-query#dns.lab"
    answer = json.loads(run("query", "example.lab", "--config", files.config, "--upstream", upstream, "--json").out)
    assert [record["data"] for record in answer["answer"]] == ["192.0.2.1", "192.0.2.2"]
    assert answer["tls"]["alpn"] == "h2"
    assert answer["verdict"]["allowed"] is True
    outcome = run("query", "nowhere.lab", "--config", files.config, "--upstream", upstream, "--json")
    assert outcome.status == 0
    assert json.loads(outcome.out)["rcode"] == "NXDOMAIN"


def test_refusal_is_named_and_nothing_is_asked(run, files, start, world):
    """A refused upstream: exit status 1, the extended error names the rule, the rogue saw no query."""
    server, port = start(ROGUES["one-operator"].make(world))
    outcome = run("query", "secret.lab", "--config", files.config, "--upstream", f"tls://127.0.0.1:{port}#dns.lab")
    assert outcome.status == 1
    assert "SERVFAIL" in outcome.out
    assert "ct.operators: 1 of 2 (Alder)" in outcome.out
    assert "REFUSED: ct.operators" in outcome.out
    assert server.tally.application_octets == 0


def test_report_mode_answers_and_says_what_would_have_been(run, files, start, world):
    """A refusal that is only reported reads as that; nobody is to believe that the answer's upstream was refused."""
    files.policy.write_text(files.policy.read_text() + '[policy]\nmode = "report"\n')
    _, port = start(world.issue(()))
    done = run("query", "example.lab", "--upstream", f"tls://127.0.0.1:{port}#dns.lab", "--config", files.config)
    assert done.status == 0
    assert "\n;; REPORT ONLY, would be refused: ct.sct-list: no embedded SCTs" in done.out
    assert "REFUSED" not in done.out
    assert "REPORT MODE for " in done.err


def test_nobody_there_is_status_3(run, files):
    """No upstream answered: the reason stands in the answer."""
    outcome = run("query", "example.lab", "--config", files.config, "--upstream", "tls://127.0.0.1:1")
    assert outcome.status == 3
    assert "tls://127.0.0.1:1: connection refused" in outcome.out
    assert "('127.0.0.1', 1)" not in outcome.out


def test_the_way_out_is_not_cut_off(run, files):
    """It stands behind the upstream's own word, at the end, where it can be copied from."""
    named = ["--upstream", "tls://127.0.0.1:1", "--upstream", "https://127.0.0.1:2/dns-query"]
    outcome = run("query", "example.lab", "--config", files.config, *named)
    [told] = [line for line in outcome.out.splitlines() if line.startswith("; EDE 22")]
    assert "connection refused (+1 more); " in told
    assert told.endswith(": sudo stubresolver portal --for 3m")


def test_bad_input_is_status_2(run):
    """A name or type that is none is told before anything is dialled."""
    for arguments, words in (
        (("a..b",), "'a..b' is not a domain name"),
        (("",), "'' is not a domain name; the root is '.'"),
        (("x" * 64 + ".lab",), "is not a domain name"),
        (("example.lab", "QQ"), "'QQ' is not a record type"),
        (("example.lab", "AXFR"), "example.lab AXFR cannot be asked: "),
        (("example.lab", "A", "--upstream", "1.1.1.1"), "is not spoken"),
    ):
        outcome = run("query", *arguments)
        assert (outcome.status, outcome.out) == (2, "")
        assert words in outcome.err


def test_local_names_ask_nobody(run, files):
    """The name localhost is answered here (RFC 6761 s6.3), whatever the upstreams do."""
    outcome = run("query", "localhost", "--config", files.config, "--upstream", "tls://127.0.0.1:1")
    assert outcome.status == 0
    assert "localhost. 10800 IN A 127.0.0.1" in outcome.out
    assert ";; answered here, no upstream was asked" in outcome.out


def test_refused_upstream_is_shown_before_one_not_reached(run, files, start, world):
    """Exit status 1 says that one was refused: then that one is shown, wherever it stands."""
    _, port = start(ROGUES["one-operator"].make(world))
    upstreams = ("--upstream", "tls://127.0.0.1:1", "--upstream", f"tls://127.0.0.1:{port}#dns.lab")
    outcome = run("query", "secret.lab", "--config", files.config, *upstreams)
    assert outcome.status == 1
    assert ";; REFUSED: ct.operators: 1 of 2 (Alder)" in outcome.out
