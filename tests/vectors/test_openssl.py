"""OpenSSL as an independent judge of SCTs: the same lab certificates, the same logs, the same status of each SCT.

`openssl s_server` shows the chain on loopback and `openssl s_client -ct` validates its SCTs. OpenSSL knows a log's key
and nothing else of it, so the cases are those that keys decide. Its clock is the machine's own, so the lab lives in
2024 and its future in 2999.
"""

import base64
import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from stubresolver.ct import LogList, SctStatus
from stubresolver.lab.authority import octet_string
from stubresolver.lab.logs import LabLog, log_list_json, milliseconds, sct_list
from stubresolver.lab.world import NAME, World
from stubresolver.verify import Presented, Verifier

NOW = datetime(2024, 6, 3, 12, tzinfo=UTC)
PAST, FUTURE = NOW - timedelta(days=1), datetime(2999, 1, 1, tzinfo=UTC)
V = SctStatus
SAME = {  # what OpenSSL calls them (SCT_validation_status_string)
    V.VALID: "valid",
    V.INVALID_SIGNATURE: "invalid",
    V.IN_FUTURE: "invalid",
    V.UNKNOWN_LOG: "unknown log",
    V.UNSUPPORTED_VERSION: "unknown version",
}


@pytest.fixture(scope="module")
def openssl():
    """The system's openssl, which shares no code with the library that we verify with."""
    return shutil.which("openssl") or pytest.skip("needs the openssl command")


@pytest.fixture(scope="module")
def old_world():
    """The lab of 2024, and beside its logs one with an RSA key."""
    world = World(NOW)
    rowan = LabLog("Rowan", "Rowan 1", key=rsa.generate_private_key(public_exponent=65537, key_size=2048))
    return world, rowan


@pytest.fixture(scope="module")
def log_file(old_world, tmp_path_factory):
    """The logs of the list as OpenSSL reads them (the file format of CTLOG_STORE_load_file)."""
    world, rowan = old_world
    lines = ["enabled_logs = " + ",".join(f"log{n}" for n in range(len(world.logs) + 1))]
    for number, log in enumerate((*world.logs, rowan)):
        key = base64.b64encode(log.public_key).decode()
        lines += [f"[log{number}]", f"description = {log.description}", f"key = {key}"]
    path = tmp_path_factory.mktemp("openssl") / "logs.cnf"
    path.write_text("\n".join(lines) + "\n")
    return path


# (log, time, changes) of each SCT of a certificate; "issuer" and "tbs" change what is signed
CASES = {
    "good": [("alder1", PAST, {}), ("birch1", PAST, {})],
    "good, of an RSA log": [("rowan", PAST, {}), ("alder2", PAST, {})],
    "forged": [("alder1", PAST, {"forged": True}), ("birch1", PAST, {})],
    "over another issuer's key": [("alder1", PAST, {"issuer": bytes(32)}), ("alder2", PAST, {})],
    "over another certificate": [("alder1", PAST, {"tbs": b"\x30\x00"})],
    "unknown log": [("driftwood", PAST, {}), ("birch1", PAST, {})],
    "unknown version": [("alder1", PAST, {}), ("birch1", PAST, {"version": 1}), ("alder2", PAST, {})],
    "from the future": [("alder1", FUTURE, {"extensions": b""}), ("birch1", PAST, {})],
    "leaf index stripped": [("birch1", PAST, {"stripped": True}), ("birch1", PAST, {})],
    "extensions on an RFC 6962 log": [("alder1", PAST, {"extensions": b"any octets"})],
    "the same log twice": [("alder1", PAST, {}), ("alder1", PAST - timedelta(days=1), {})],
}


def mint(world, rowan, scts):
    """A certificate of the lab with these SCTs."""

    def stamp(issuer_key_hash, tbs):
        made = []
        for name, moment, wanted in scts:
            changes = dict(wanted)
            log = rowan if name == "rowan" else getattr(world, name)
            signer = world.driftwood.key if changes.pop("forged", False) else None
            stripped = changes.pop("stripped", False)
            over = (changes.pop("issuer", issuer_key_hash), changes.pop("tbs", tbs), milliseconds(moment))
            octets = log.sign(*over, signer=signer, **changes)
            made.append(octets[:41] + b"\0\0" + octets[51:] if stripped else octets)
        return octet_string(sct_list(made))

    return world.issue(stamp)


def ask_openssl(openssl, folder, credential, root, log_file):
    """What `s_client -ct` says of each SCT that `s_server` shows."""
    leaf, intermediate = (folder / name for name in ("leaf.pem", "intermediate.pem"))
    pem = credential.chain_pem.partition(b"-----END CERTIFICATE-----\n")
    leaf.write_bytes(pem[0] + pem[1])
    intermediate.write_bytes(pem[2])
    (folder / "key.pem").write_bytes(credential.key_pem)
    (folder / "root.pem").write_bytes(root)
    serve = [openssl, "s_server", "-accept", "127.0.0.1:0", "-naccept", "1", "-cert", leaf, "-key", folder / "key.pem"]
    serve += ["-cert_chain", intermediate]
    with subprocess.Popen(serve, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as server:
        try:
            line = next(line for line in server.stdout if line.startswith(b"ACCEPT"))
            where = line.split()[1].decode()
            ask = [
                openssl,
                "s_client",
                "-connect",
                where,
                "-ct",
                "-ctlogfile",
                log_file,
                "-CAfile",
                folder / "root.pem",
            ]
            ask += ["-attime", str(int(NOW.timestamp())), "-no-CApath", "-no-CAstore"]
            said = subprocess.run(ask, input=b"", capture_output=True, check=False, timeout=30).stdout.decode()
        finally:
            server.kill()
    assert "Verify return code: 0 (ok)" in said, said
    return re.findall(r"SCT validation status: (.+)", said)[::-1]  # it shows the last one first


@pytest.mark.parametrize("scts", CASES.values(), ids=CASES)
def test_openssl_gives_each_sct_the_same_status(openssl, old_world, log_file, tmp_path, scts):
    """Two implementations that share no code agree on every SCT that a log's key decides."""
    world, rowan = old_world
    credential = mint(world, rowan, scts)
    log_list = LogList.parse(log_list_json([*world.logs, rowan], now=NOW))
    shown = Presented(ip_address("127.0.0.1"), NAME, credential.chain)
    ours = [sct.status for sct in Verifier(world.policy, log_list).judge(shown, NOW).scts]
    theirs = ask_openssl(openssl, tmp_path, credential, world.anchors_pem, log_file)
    assert len(ours) == len(scts)
    assert theirs == [SAME[status] for status in ours]
