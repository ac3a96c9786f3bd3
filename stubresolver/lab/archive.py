"""Where the lab's logs are read: one HTTPS server, https://logs.lab:PORT/, each log under its own name. No clock.

The host is in the lab's zone; the certificate is the Lab CA's.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

import trio

from stubresolver.lab.authority import Credential
from stubresolver.lab.log_api import NOT_FOUND, LogFront, Page
from stubresolver.lab.logs import LabLog, slug
from stubresolver.lab.servers import HttpsServer

HOST = "logs.lab"


class Archive:
    """The readers' side of some logs. Logs may join while it serves."""

    def __init__(self, credential: Credential, clock: Callable[[], datetime]) -> None:
        """`credential` is for `HOST`; `clock` dates the tree heads."""
        self.server = HttpsServer(credential, self._read)
        self.fronts: dict[str, LogFront] = {}  # by the log's name in the URL
        self.host = HOST  # and the port once it serves: what `log_list_json` wants
        self._clock = clock

    async def serve(self, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen until cancelled; `nursery.start` gives host and port."""
        async with trio.open_nursery() as nursery:
            self.host = f"{HOST}:{await nursery.start(self.server.serve)}"
            task_status.started(self.host)

    def join(self, logs: Sequence[LabLog]) -> list[LogFront]:
        """Serve these logs, honestly until told otherwise; once the port is known."""
        fronts = [LogFront(log, self.host, self._clock) for log in logs]
        self.fronts.update((slug(front.log), front) for front in fronts)
        return fronts

    def _read(self, target: str) -> Page | None:
        name, _, path = target.removeprefix("/").partition("/")
        front = self.fronts.get(name)
        return NOT_FOUND if front is None else front.read(path)
