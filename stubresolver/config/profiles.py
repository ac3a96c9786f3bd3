"""Providers: a file says who is asked, and by which policy laid over everybody's they are judged.

Some ship with the program and are named by a word, "quad9"; others by their path. No address stands in two of them:
which policy it is judged by would depend on which file is read first.
"""

import importlib.resources
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from stubresolver.config.files import read_file, read_shipped
from stubresolver.errors import BadInput, ConfigError
from stubresolver.upstream import Upstream, parse_upstream
from stubresolver.verify import Layer, config_error, read_policy_tables

_FOLDER = "providers"  # of the shipped ones
PROFILE_KEYS = frozenset({"name", "upstreams"})  # the keys of a provider's file that are no policy's


class _Head(msgspec.Struct, frozen=True, kw_only=True):
    """Of a provider's file, what is not its policy."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=40)]
    upstreams: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=64)]


@dataclass(frozen=True, slots=True)
class Profile:
    """A provider, as its file has it."""

    name: str  # for people
    upstreams: tuple[Upstream, ...]  # the most preferred first
    file: str  # its path, or that of a shipped one inside the package
    path: Path | None = None  # None: it ships

    def layer(self) -> Layer:
        """Its policy as it stands in the file now; raises `ConfigError`."""
        return Layer(self._read(), str(self), PROFILE_KEYS)

    def as_it_is_now(self) -> "Profile":
        """What its file says of it now; raises `ConfigError`: a file with an error is of no use in part either."""
        return parse_profile(self._read(), self.file, self.path)

    def _read(self) -> bytes:
        return read_shipped(self.file) if self.path is None else read_file(self.path, "providers")

    def __str__(self) -> str:
        return f"the shipped {self.file}" if self.path is None else self.file


def read_profiles(references: Sequence[str], source: str, folder: Path) -> tuple[Profile, ...]:
    """The providers that a configuration names, in order; raises `ConfigError`.

    A word is the name of a shipped one; what has a slash or ends in `.toml` is a path, counted from `folder`.
    """
    found: list[Profile] = []
    for index, reference in enumerate(references):
        try:
            profile = _read(reference, source, f"providers[{index}]", folder)
            _prove_apart(profile, found)
        except BadInput as error:
            raise ConfigError(source, f"providers[{index}]", str(error)) from None
        found.append(profile)
    return tuple(found)


def is_profile(octets: bytes) -> bool:
    """True if a policy file is a provider's; False, too, for what is no TOML."""
    try:
        return bool(PROFILE_KEYS & read_policy_tables(octets, "").keys())
    except ConfigError:
        return False


def parse_profile(octets: bytes, file: str, path: Path | None = None) -> Profile:
    """Read a provider's file but for its policy; raises `ConfigError`."""
    shown = f"the shipped {file}" if path is None else file
    tables = read_policy_tables(octets, shown)
    policy = read_policy_tables(read_shipped("policy.toml"), "the shipped policy")
    if unknown := [key for key in tables if key not in PROFILE_KEYS and key not in policy]:
        known = f"`name`, `upstreams` and the tables of a policy: {', '.join(policy)}"
        raise ConfigError(shown, unknown[0], f"unknown key; a provider's file has {known}")
    try:
        head = msgspec.convert(tables, _Head)
    except msgspec.ValidationError as error:
        raise config_error(shown, error, tables, _Head) from None
    if not head.name.isprintable() or head.name != head.name.strip():
        raise ConfigError(shown, "name", f"got {head.name!r}, expected one line of text")
    upstreams = []
    for index, text in enumerate(head.upstreams):
        try:
            upstreams.append(parse_upstream(text))
        except BadInput as error:
            raise ConfigError(shown, f"upstreams[{index}]", str(error)) from None
    if len(set(upstreams)) < len(upstreams):
        raise ConfigError(shown, "upstreams", "the same upstream stands there twice")
    return Profile(head.name, tuple(upstreams), file, path)


def _read(reference: str, source: str, key: str, folder: Path) -> Profile:
    """One provider; raises `ConfigError` or `BadInput`."""
    if "/" in reference or reference.endswith(".toml"):
        path = folder / reference
        try:
            return parse_profile(read_file(path, ""), str(path), path)
        except ConfigError as error:
            if error.key:
                raise
            raise ConfigError(source, key, str(error)) from None  # not there, or no TOML: say who named it, too
    shipped = _shipped()
    if reference not in shipped:
        raise BadInput(
            f"no provider {reference!r} ships with this version; expected one of {', '.join(shipped)}, or the path of "
            'a file, such as "mine.toml"'
        )
    file = f"{_FOLDER}/{reference}.toml"
    return parse_profile(read_shipped(file), file)


def _shipped() -> list[str]:
    """The names of those that ship."""
    folder = importlib.resources.files("stubresolver").joinpath("data", _FOLDER)
    return sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml"))


def _prove_apart(profile: Profile, earlier: Sequence[Profile]) -> None:
    """Raise `BadInput` for a name or an address that an earlier provider has, too."""
    for other in earlier:
        if other.name == profile.name:
            raise BadInput(f"{profile} and {other} are both named {profile.name!r}; give one of them another name")
        addresses = {upstream.address for upstream in other.upstreams}
        if shared := [upstream for upstream in profile.upstreams if upstream.address in addresses]:
            raise BadInput(
                f"{shared[0].address} stands in {profile} and in {other}, too: an address has one provider, so that it "
                "has one policy"
            )
