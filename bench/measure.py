"""The measurements: contenders side by side in rounds, and what only stubresolver is asked for."""

import contextlib
import dataclasses
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path

from bench.contenders import Contender, Running
from bench.load import Load
from bench.process import CannotMeasure
from bench.world import Upstream
from stubresolver.config import load_policy
from stubresolver.lab.world import NAME, World
from stubresolver.verify import Policy, Presented, TlsFacts, Verifier

_STARTS = 7
_JUDGEMENTS = 300


@dataclass(frozen=True, slots=True)
class Series:
    """What one contender did in each round."""

    name: str
    loads: tuple[Load, ...]
    resident_mebibytes: float  # after the last round

    @property
    def microseconds(self) -> tuple[float, ...]:
        """Processor time per query, round by round."""
        return tuple(load.microseconds for load in self.loads)


def race(
    contenders: Sequence[Contender],
    upstream: Upstream,
    folder: Path,
    rounds: int,
    measure: Callable[[Running], Load],
) -> tuple[Series, ...]:
    """Measure all in turn, `rounds` times over: what disturbs the machine for a while disturbs all of them."""
    with _started(contenders, upstream, folder) as running:
        found: list[list[Load]] = [[] for _ in running]
        for _ in range(rounds):
            for server, loads in zip(running, found, strict=True):
                loads.append(measure(server))
        return tuple(
            Series(server.name, tuple(loads), server.resident_mebibytes)
            for server, loads in zip(running, found, strict=True)
        )


def ratio(ours: Series, theirs: Series) -> float:
    """The median over the rounds of our time per query to theirs in the same round."""
    return statistics.median(a / b for a, b in zip(ours.microseconds, theirs.microseconds, strict=True))


def first_answers(contender: Contender, upstream: Upstream, folder: Path) -> tuple[float, ...]:
    """Seconds from exec to the first answer over UDP, by the clock, of several starts; an uncounted one goes before."""
    seconds = []
    for _ in range(1 + _STARTS):
        with Running(contender, upstream, folder / "start") as running:
            seconds.append(running.wait_until_ready())
    return tuple(seconds[1:])


def verdicts() -> tuple[float, ...]:
    """Seconds of processor time for each of many judgements of one chain: three certificates, three SCTs.

    The anchors are certifi's and the issuers the shipped ones, as a real judgement has them, and the lab's with them.
    """
    now = datetime.now(UTC)
    world = World(now)
    credential = world.issue([world.alder1, world.alder2, world.birch1])
    presented = Presented(
        IPv4Address("127.0.0.1"),
        NAME,
        (*credential.chain, world.lab.anchor),
        TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384", "X25519MLKEM768", "dot", None),
    )
    verifier = Verifier(_with_lab(load_policy(None), world), world.log_list)
    if not verifier.judge(presented, now).allowed:
        raise CannotMeasure("the verdict on an honest chain of the lab is a refusal")
    seconds = []
    for _ in range(_JUDGEMENTS):
        before = time.process_time()
        verifier.judge(presented, now)
        seconds.append(time.process_time() - before)
    return tuple(seconds)


def _with_lab(policy: Policy, world: World) -> Policy:
    """The policy with the lab's root among the anchors and the allowed issuers."""
    if policy.issuers is None or policy.issuers.allowed is None:
        raise CannotMeasure("the shipped policy allows any issuer")
    allowed = {**policy.issuers.allowed, bytes.fromhex(world.lab.root_spki_sha256): "Lab CA Root"}
    issuers = dataclasses.replace(policy.issuers, allowed=allowed)
    return dataclasses.replace(policy, anchors=(*policy.anchors, world.lab.anchor), issuers=issuers)


@contextlib.contextmanager
def _started(contenders: Sequence[Contender], upstream: Upstream, folder: Path) -> Iterator[tuple[Running, ...]]:
    """All contenders, answering, each in its own folder; ended with the block."""
    with contextlib.ExitStack() as stack:
        running = tuple(stack.enter_context(Running(each, upstream, folder / each.name)) for each in contenders)
        for server in running:
            server.wait_until_ready()
        yield running
