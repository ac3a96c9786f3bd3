"""Run in a network of its own: makes changes with ip(8), and says for each what the monitor told of it.

One JSON object a line: the step, whether the upstream could be reached after each change that was told, the keys, and
for how many seconds the first one was awaited.
"""

import json
import subprocess
import sys
from ipaddress import ip_address

import trio

from stubresolver.netwatch import Network
from stubresolver.netwatch.monitor import Monitor, open_events

TARGET = ip_address("1.1.1.1")

# A step, its commands, and whether anything should be told.
STEPS = (
    ("another router", "route replace default via 192.0.2.3", True),
    ("a second address", "address add 198.51.100.9/24 dev wan", False),
    ("a container", "link add c0 type veth peer name c1; address add 172.17.0.1/16 dev c0; link set c0 up", False),
    ("a route to elsewhere", "route add 203.0.113.0/24 via 192.0.2.1", False),
    ("a route to the upstream", "route add 1.1.1.1 via 192.0.2.5", True),
    ("no longer", "route del 1.1.1.1", True),
    ("a policy route", "link set c1 up; route add default dev c0 table 7; rule add to 1.1.1.1 table 7", True),
    ("no longer in another table", "rule del to 1.1.1.1 table 7", True),
    (
        "another address",
        "address flush dev wan; address add 192.0.2.7/24 dev wan; route add default via 192.0.2.1",
        True,
    ),
    ("no carrier", "link set isp down", True),
    ("a carrier", "link set isp up", True),
    ("a carrier away for a moment", "link set isp down; link set isp up", True),
    ("no router", "route del default", True),
    ("a blackhole", "route add blackhole default", False),
    ("a router", "route replace default via 192.0.2.1", True),
    ("link down", "link set wan down", True),
)


def ip(commands: str) -> None:
    for command in commands.split("; "):
        subprocess.run(["ip", *command.split()], check=True)


async def main() -> None:
    ip("link set lo up; link add wan type veth peer name isp; link set isp up; link set wan up")
    ip("address add 192.0.2.2/24 dev wan; route add default via 192.0.2.1")
    told: list[Network] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Monitor([TARGET], told.append).run, open_events())
        with trio.fail_after(10):
            while not told:  # noqa: ASYNC110 - out of a thread
                await trio.sleep(0.01)
        await trio.sleep(0.7)  # what the beginning has brought
        for step, commands, expected in STEPS:
            told.clear()
            began = trio.current_time()
            await trio.to_thread.run_sync(ip, commands)
            with trio.move_on_after(3 if expected else 0.7):
                while not told:  # noqa: ASYNC110 - as above
                    await trio.sleep(0.01)
            seconds = trio.current_time() - began
            await trio.sleep(0.15)
            reachable = [network.reachable for network in told]
            keys = [network.key for network in told]
            line = {"step": step, "reachable": reachable, "keys": keys, "seconds": seconds}
            sys.stdout.write(f"{json.dumps(line)}\n")
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
