"""Other demands for the connections of several pools, in force at one moment.

When the demands change, they change for all upstreams at one moment. Connections that stand have been judged again by
then; those that fall short are retired at that moment. No query goes out on a verdict that was overtaken.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from stubresolver.errors import ChannelClosed, UpstreamError
from stubresolver.upstream.channel import Channel
from stubresolver.upstream.dial import Demands
from stubresolver.upstream.holding import judged_again
from stubresolver.upstream.upstream import Upstream
from stubresolver.verify.verdict import Verdict

# While connections are judged others come to stand, which are judged then. A peer that closes each of his and is
# dialled again would so put off for ever what may refuse him.
ROUNDS: Final = 3


class Renewable(Protocol):
    """Whoever holds connections; `Pool` does."""

    @property
    def standing(self) -> list[tuple[Upstream, Channel]]:
        """The connections that stand."""

    def take(self, demands: Mapping[Upstream, Demands], judged: Mapping[Channel, Verdict | UpstreamError]) -> None:
        """Put other demands in force, by which every connection that stands has been judged."""


async def renew_all(pools: Sequence[Renewable], demands: Mapping[Upstream, Demands]) -> None:
    """From now on judge by other demands, of the same upstreams, in all pools at one moment.

    Connections that stand are judged again before anything changes; those that pass stay. Which are made meanwhile
    again and again are used no more: the next dial is judged by the new demands.
    """
    judged: dict[Channel, Verdict | UpstreamError] = {}
    for _ in range(ROUNDS):
        for upstream, channel in _unjudged(pools, judged):
            judged[channel] = await judged_again(channel, demands[upstream])
    # No await from here on: there is no moment in which one upstream is judged by the old demands, one by the new.
    for upstream, channel in _unjudged(pools, judged):
        judged[channel] = ChannelClosed(f"{upstream}: connected while the demands changed; it is dialled anew")
    for pool in pools:
        pool.take(demands, judged)


def _unjudged(
    pools: Sequence[Renewable], judged: Mapping[Channel, Verdict | UpstreamError]
) -> list[tuple[Upstream, Channel]]:
    """The connections that stand and were not judged again yet."""
    return [each for pool in pools for each in pool.standing if each[1] not in judged]
