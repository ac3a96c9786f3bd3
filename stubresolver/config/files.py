"""Reads the files that a person names, and those that ship inside the package.

The only place of the room that opens a file; whatever goes wrong names the file, and the key that named it.
"""

import importlib.resources
from pathlib import Path

from stubresolver.errors import ConfigError


def read_file(path: Path, key: str) -> bytes:
    """The octets of a file that `key` names; raises `ConfigError`."""
    try:
        if path.exists() and not path.is_file():  # a FIFO would be waited for without end
            raise ConfigError(str(path), key, "cannot be read: not a regular file")
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(str(path), key, f"cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # a NUL in the path
        raise ConfigError(repr(str(path)), key, f"cannot be read: {error}") from None


def read_shipped(name: str) -> bytes:
    """A file that ships inside the package; raises `ConfigError` (no descriptor left, a broken installation)."""
    try:
        return importlib.resources.files("stubresolver").joinpath("data", *name.split("/")).read_bytes()
    except OSError as error:
        raise ConfigError(f"the shipped {name}", "", f"cannot be read: {error.strerror or error}") from None
