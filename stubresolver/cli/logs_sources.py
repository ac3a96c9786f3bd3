"""Where lists come from: files, https URLs, the list of this version. Octets and signature of each, or why not.

A file must be a regular one, a URL is fetched over names that our own verified upstreams resolve; both are bounded
(`MAXIMUM_LIST`), a URL in time as well. One source that fails takes nothing from the others.
"""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import trio
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from stubresolver.app import App
from stubresolver.cli.common import open_evidence, run_tasks
from stubresolver.cli.files import read_bounded
from stubresolver.config import Settings, certifi_file, read_shipped, web_anchors
from stubresolver.demands import build_all_demands
from stubresolver.errors import BadInput, FetchFailed, Unreached
from stubresolver.evidence import Recorder
from stubresolver.loglists import MAXIMUM_LIST, SigningKey, load_key, origin_of
from stubresolver.trust import load_trust
from stubresolver.verify import printable
from stubresolver.web import Web

SHIPPED, INSTALLED = "shipped", "installed"
MAXIMUM_SIGNATURE = 64 * 1024  # octets; RSA-4096 has 512, a minisign file some hundreds
_MAXIMUM_KEY = 64 * 1024
# Seconds for one source with its signature: a list of 120 KiB needs one on any line that can carry DNS.
SECONDS = 30.0
_UNSIGNED = frozenset({403, 404, 410})  # there is no such file; stores of objects say 403 for it


@dataclass(frozen=True, slots=True)
class Material:
    """A source as it came: its octets, or the problem that there are none."""

    name: str  # as the person named it
    origin: str
    octets: bytes = field(default=b"", repr=False)
    signature: bytes | None = None
    problem: str = ""
    reached: bool = True  # False: nobody answered, so nothing was refused

    @property
    def shipped(self) -> bool:
        """True for the list of this version, which vouches by itself."""
        return self.origin == SHIPPED


def gather(
    names: Sequence[str], keys: Sequence[SigningKey], signature: Path | None, settings: Settings, anchors: Path | None
) -> list[Material]:
    """Every source in order; raises `BadInput` where the names cannot be meant so."""
    _check(names, signature)
    roots = None if anchors is None else web_anchors(settings, anchors)  # told before anything is fetched
    given = None if signature is None else read_bounded(signature, MAXIMUM_SIGNATURE)
    found = {name: _local(name, keys, given) for name in names if "://" not in name}
    urls = [name for name in names if "://" in name]
    if urls:
        # the system's store may have one authority that speaks for every source: an inspecting proxy's
        roots = roots or certifi_file("the sources' servers", "--web-anchors")
        with contextlib.ExitStack() as held:
            app = None
            if any(_has_name(url) for url in urls):
                evidence = held.enter_context(contextlib.closing(open_evidence(settings)))
                app = App(settings, build_all_demands(load_trust(settings), Recorder(evidence)))
            fetching = _Fetching(app, roots, held.enter_context(_progress()), given, look_for_signature=bool(keys))
            found |= run_tasks(fetching.fetch_all, urls)
    return [found[name] for name in names]


def load_keys(files: Sequence[Path]) -> list[SigningKey]:
    """The public keys that may vouch; raises `BadInput` that names the file."""
    keys = []
    for file in files:
        try:
            keys.append(load_key(read_bounded(file, _MAXIMUM_KEY), file.name))
        except BadInput as error:
            raise BadInput(str(error) if str(file) in str(error) else f"{file}: {error}") from None
    return keys


def signature_beside(file: Path) -> bytes | None:
    """The signature that lies beside a file, None where there is none; raises `BadInput` where it cannot be read."""
    for name in signature_names(file.name):
        beside = file.with_name(name)
        if beside.exists():
            return read_bounded(beside, MAXIMUM_SIGNATURE)
    return None


def signature_names(name: str) -> tuple[str, ...]:
    """What a list's signature may be called: LIST.json.sig, LIST.json.minisig, LIST.sig."""
    stem, dot, _ = name.rpartition(".")
    return (f"{name}.sig", f"{name}.minisig", *([f"{stem}.sig"] if dot and stem else []))


def _check(names: Sequence[str], signature: Path | None) -> None:
    if not names:
        raise BadInput("no source: name files or https URLs with --from, or in [logs] sources of the configuration")
    if "" in names:
        raise BadInput("a source without a name: expected a file, an https URL or `shipped`")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise BadInput(f"{twice}: named twice, and one source has one voice")
    if signature is not None and (len(names) != 1 or names[0] == SHIPPED):
        raise BadInput("--signature is of one list: name one file or URL, or let signatures lie beside their lists")


def _has_name(url: str) -> bool:
    """True unless the host of a URL is an address."""
    try:
        ip_address(urlsplit(url).hostname or "")
    except ValueError:
        return True
    return False


def _local(name: str, keys: Sequence[SigningKey], signature: bytes | None) -> Material:
    """A file, or the list of this version."""
    if name == SHIPPED:
        return Material(name, SHIPPED, read_shipped("log_list.json"))
    path = Path(name)
    try:
        octets = read_bounded(path, MAXIMUM_LIST)
        if signature is None and keys:
            signature = signature_beside(path)
        return Material(name, origin_of(str(path.resolve())), octets, signature)
    except BadInput as error:
        return Material(name, name, problem=str(error).removeprefix(f"{name}: "), reached=os.path.lexists(name))


class _Fetching:
    """Sources from the web, all at once."""

    def __init__(
        self,
        app: App | None,
        anchors: Path | None,
        progress: Progress,
        given: bytes | None,
        *,
        look_for_signature: bool,
    ) -> None:
        """`app` is needed where a URL has a name in it."""
        self._app = app
        self._web = Web(self._addresses, anchors)
        self._progress = progress
        self._given = given
        self._look = look_for_signature and given is None

    async def fetch_all(self, urls: Sequence[str]) -> dict[str, Material]:
        """Every source, whatever becomes of the others."""
        found: dict[str, Material] = {}

        async def fetch(url: str) -> None:
            found[url] = await self._fetch(url)

        async with contextlib.AsyncExitStack() as running:
            if self._app is not None:
                await running.enter_async_context(self._app.asking())
            async with trio.open_nursery() as nursery:
                for url in urls:
                    nursery.start_soon(fetch, url)
        return found

    async def _addresses(self, name: str) -> Sequence[IPv4Address | IPv6Address]:
        return [] if self._app is None else await self._app.addresses(name)

    async def _fetch(self, url: str) -> Material:
        """One list and its signature, within its time."""
        ends = trio.current_time() + SECONDS
        shown = self._progress.add_task(printable(url, 60), total=None)

        def tell(got: int, whole: int | None) -> None:
            self._progress.update(shown, completed=got, total=whole)

        origin = origin_of(url)
        try:
            octets = await self._web.get(url, limit=MAXIMUM_LIST, seconds=SECONDS, progress=tell)
            signature = await self._signature(url, ends) if self._look else self._given
        except FetchFailed as error:
            problem = str(error).removeprefix(f"{url}: ").removeprefix(f"{url!r}: ")
            return Material(url, origin, problem=problem, reached=not isinstance(error, Unreached))
        return Material(url, origin, octets, signature)

    async def _signature(self, url: str, ends: float) -> bytes | None:
        """The signature that lies beside a list, None where there is none; raises `FetchFailed`."""
        parts = urlsplit(url)
        folder, slash, name = parts.path.rpartition("/")
        for each in signature_names(name) if name else ():
            beside = urlunsplit(parts._replace(path=f"{folder}{slash}{each}"))
            seconds = max(ends - trio.current_time(), 0.0)
            try:
                return await self._web.get(beside, limit=MAXIMUM_SIGNATURE, seconds=seconds)
            except FetchFailed as error:
                if error.status not in _UNSIGNED:
                    raise FetchFailed(f"its signature cannot be had: {error}", error.status) from None
        return None


def _progress() -> Progress:
    """A bar for each source, where a terminal shows it."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
