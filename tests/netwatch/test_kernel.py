"""The real kernel's changes in a network of our own, made with ip(8): which are told, how often, how soon."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.interop.network import way_to_network
from tests.netwatch.changes import STEPS

_CHANGES = Path(__file__).with_name("changes.py")


@pytest.fixture(scope="module")
def told():
    """What was told of each step."""
    if shutil.which("ip") is None:
        pytest.skip("needs Debian's iproute2 (ip)")
    way = way_to_network()
    if way is None:
        pytest.skip("needs network namespaces (unshare --net)")
    root = Path(__file__).parent.parent.parent
    command = [*way, sys.executable, "-m", "tests.netwatch.changes"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return {line["step"]: line for line in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("step", [step for step, _, expected in STEPS if expected])
def test_what_matters_is_told(told, step):
    """Another router, another way to the upstream, another address, a link that goes or comes, be it for a moment."""
    assert told[step]["reachable"], step
    assert told[step]["seconds"] < 1.5, "about half a second, on a busy machine"


@pytest.mark.parametrize("step", [step for step, _, expected in STEPS if not expected])
def test_what_does_not_matter_is_not_told(told, step):
    """What the upstream is not reached by may change all day; what cannot be reached already cannot be lost."""
    assert told[step]["reachable"] == [], step


@pytest.mark.parametrize("step", [step for step, _, expected in STEPS if expected])
def test_a_burst_is_one_change(told, step):
    """Several messages of one step are one change, or two where the kernel took longer than a burst lasts."""
    assert len(told[step]["reachable"]) <= 2, step


def test_where_the_way_is_gone_nothing_can_be_reached(told):
    """No carrier, no router, the link down; and a blackhole is no way."""
    for step in ("no carrier", "no router", "link down"):
        assert told[step]["reachable"][-1] is False, step
        assert told[step]["keys"][-1] == "", step
    for step in ("a carrier", "a router", "another address", "a route to the upstream"):
        assert told[step]["reachable"][-1] is True, step


def test_the_same_network_has_the_same_key(told):
    """Back on the way of before, the key is what it was."""
    assert told["no longer"]["keys"][-1] == told["another router"]["keys"][-1]
    assert told["no longer in another table"]["keys"][-1] == told["another router"]["keys"][-1]
    assert told["a route to the upstream"]["keys"][-1] != told["another router"]["keys"][-1]
    assert told["a carrier"]["keys"][-1] == told["a router"]["keys"][-1]
