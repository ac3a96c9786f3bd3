"""Write the known judgements of the self-test (stubresolver/selftest.py), from a lab world at a fixed time.

    python tools/make_selftest.py            # writes stubresolver/data/selftest_*.json
    python tools/make_selftest.py --check    # writes nothing; exit 1 if the files do not judge as they must

The lab's keys are made anew each time, so the files differ from run to run; what they must judge to does not. Write
them anew when the form of an exported judgement or of a policy's snapshot changes.
"""

import argparse
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from stubresolver.ct import LogList
from stubresolver.errors import SelfTestFailed
from stubresolver.exported import Exported, encode_verdict
from stubresolver.lab.world import NAME, World
from stubresolver.selftest import run_selftest
from stubresolver.verify import NOTHING_REMEMBERED, ClockFloor, Presented, Remembered, TlsFacts, Verifier, Whose

AT = datetime(2026, 11, 2, 12, tzinfo=UTC)
STALE = AT + timedelta(days=80)  # for the list; the certificates live for 89
UPSTREAM = "tls://127.0.0.1#dns.lab"
TLS = TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384", "X25519MLKEM768", "dot", openssl_error=None)
DATA = Path(__file__).resolve().parent.parent / "stubresolver" / "data"


def main() -> int:
    """Write or check; the exit status is 1 where the files do not judge as they must."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 if the files do not judge as they must"
    )
    parser.add_argument("--folder", type=Path, default=DATA, help="where the files are; default: the package's data")
    arguments = parser.parse_args()
    if not arguments.check:
        for name, exported in make().items():
            (arguments.folder / name).write_bytes(exported.write())
            print(f"{name}: {len(exported.write())} octets")
    try:
        run_selftest(arguments.folder)
    except SelfTestFailed as error:
        print(error)
        return 1
    print("the files judge as they must")
    return 0


def make() -> dict[str, Exported]:
    """Each case of the self-test, judged in one world."""
    world = World(AT)
    good = Presented(ip_address("127.0.0.1"), NAME, world.issue().chain, TLS)
    floor = ClockFloor(AT, Whose.LOG_LIST)
    then = (AT, NOTHING_REMEMBERED)
    shown = {
        "selftest_good.json": (good, *then),
        "selftest_known.json": (good, STALE, Remembered(floor, passed=AT)),
        "selftest_no_scts.json": (replace(good, chain=world.issue(()).chain), *then),
        "selftest_issuer.json": (
            replace(good, chain=world.issue(authority=world.finish).chain),
            AT,
            NOTHING_REMEMBERED,
        ),
        "selftest_address.json": (replace(good, address=ip_address("192.0.2.1")), *then),
        "selftest_stale.json": (good, STALE, Remembered(floor)),
        "selftest_clock.json": (good, AT - timedelta(days=2), Remembered(floor)),
    }
    log_list = LogList.parse(world.log_list_json)
    verifier = Verifier(world.policy, log_list)
    exported = {}
    for name, (presented, at, remembered) in shown.items():
        octets = encode_verdict(verifier.judge(presented, at, remembered))
        exported[name] = Exported(UPSTREAM, presented, octets, at, world.policy.snapshot(), log_list.octets)
    return exported


if __name__ == "__main__":
    sys.exit(main())
