"""Which log list is in force: the one that is named, the one that is installed, or the shipped one."""

from pathlib import Path

from stubresolver.config.files import read_file, read_shipped
from stubresolver.ct import LogList
from stubresolver.errors import BadInput, ConfigError

LOG_LIST_FILE = Path("/etc/stubresolver/log_list.json")  # in force if it is there and no other is named


def load_log_list(path: Path | None) -> LogList:
    """The pinned log list: of the file that is named, else of `LOG_LIST_FILE`, else the shipped one.

    Raises `ConfigError`. A file that lies there and cannot be used is never passed over: whoever put it there, or broke
    it, must not bring another list in force unseen.
    """
    file = installed_log_list(path)
    octets = read_file(file, "trust.log_list") if file else read_shipped("log_list.json")
    try:
        return LogList.parse(octets)
    except BadInput as error:
        raise ConfigError(str(file or "the shipped log list"), "", f"{error}{_way_out(path, file)}") from None


def installed_log_list(path: Path | None) -> Path | None:
    """The file that is the list in force, None for the shipped list; a link that leads nowhere is a file, too."""
    if path is not None:
        return path
    try:
        LOG_LIST_FILE.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return LOG_LIST_FILE  # reading it will say what is wrong
    return LOG_LIST_FILE


def _way_out(named: Path | None, file: Path | None) -> str:
    """What a person can do about an installed list that does not read."""
    ways = []
    if file is not None and file.with_name(f"{file.name}.previous").is_file():
        ways.append("`stubresolver logs rollback` brings the list before it back")
    if file is not None and named is None:
        ways.append("without this file the shipped list is in force")
    return "".join(f"; {way}" for way in ways)
