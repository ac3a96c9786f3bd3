"""Whose are upstreams that are written one by one? PURE.

Nothing is spread over providers unless a person wants it, so that one of them alone sees what is asked while it can be
reached. Where no file says who belongs together, upstreams that share an address or an authentication name do: 1.1.1.1
by DoT and by DoH, and 1.0.0.1 with the same name. Others are held to be strangers, which costs a little speed and
tells nobody anything.
"""

from collections.abc import Sequence

from stubresolver.upstream import Upstream


def group(upstreams: Sequence[Upstream]) -> dict[Upstream, str]:
    """A label for each upstream, the same for those that belong together: the name or address of the first of them."""
    labels: dict[Upstream, str] = {}
    for upstream in upstreams:
        traits = _traits(upstream)
        kin = list(dict.fromkeys(label for other, label in labels.items() if traits & _traits(other)))
        label = kin[0] if kin else upstream.name or str(upstream.address)
        labels = {other: label if known in kin else known for other, known in labels.items()} | {upstream: label}
    return labels


def _traits(upstream: Upstream) -> set[str]:
    return {str(upstream.address)} | ({upstream.name} if upstream.name else set())
