"""The policy of a file with its anchors at hand, and where each came from."""

from dataclasses import dataclass
from pathlib import Path

from stubresolver.config.anchors import certifi_file, read_anchors, system_store
from stubresolver.config.files import read_file, read_shipped
from stubresolver.config.profiles import Profile
from stubresolver.verify import Layer, Policy, read_layers

SHIPPED = "the shipped policy"


@dataclass(frozen=True, slots=True)
class LoadedPolicy:
    """A policy and where it came from."""

    policy: Policy
    source: str  # the files, or "the shipped policy"
    anchors: str  # whose roots: a file, "certifi", or the system's store
    warning: str = ""  # what to know about the anchors, and about a provider


def load_policy(path: Path | None, anchors: Path | None = None, profile: Profile | None = None) -> Policy:
    """The policy of `load_policy_file` alone."""
    return load_policy_file(path, anchors, profile).policy


def policy_layers(path: Path | None, profile: Profile | None = None) -> tuple[Layer, ...]:
    """The files that are laid over the shipped policy, read now; raises `ConfigError`."""
    own = () if path is None else (Layer(read_file(path, "trust.policy"), str(path)),)
    return own if profile is None else (*own, profile.layer())


def load_policy_file(path: Path | None, anchors: Path | None = None, profile: Profile | None = None) -> LoadedPolicy:
    """The policy with its anchors: `path` on top of the shipped one, and a provider's demands on top of both.

    `anchors` is a PEM file instead of the policy's own. Raises `ConfigError` that names file and key.
    """
    layers = policy_layers(path, profile)
    policy = read_layers(Layer(read_shipped("policy.toml"), SHIPPED), layers)
    source = " on top of ".join(layer.file for layer in reversed(layers)) or SHIPPED
    name = policy.anchors_file or SHIPPED
    whose, warning = policy.anchors, _overtaken(profile)
    if anchors is not None:
        certificates, whose = read_anchors(anchors, str(anchors), ""), str(anchors)
    elif policy.anchors == "certifi":
        certificates = read_anchors(certifi_file(name, "anchors.source"), name, "anchors.source")
    elif policy.anchors == "system":
        store = system_store(name)
        certificates, whose = read_anchors(store, name, "anchors.source"), f"the system's store, {store}"
        system = (
            f"{name}: anchors.source: the {len(certificates)} roots are this machine's own store, {store}: whoever "
            "administers it, and any product that installs a root, such as an inspecting proxy, has a say in it"
        )
        warning = f"{warning}; {system}" if warning else system
    else:
        file = Path(policy.anchors_file).parent / policy.anchors
        certificates, whose = read_anchors(file, name, "anchors.source"), str(file)
    return LoadedPolicy(policy.with_anchors(certificates), source, whose, warning)


def _overtaken(profile: Profile | None) -> str:
    """What to know of a provider's file that says something else by now of who is asked; raises `ConfigError`."""
    if profile is None or profile.as_it_is_now() == profile:
        return ""
    return f"{profile}: who is asked has changed since it was read: a restart takes it over, a reload the policy alone"
