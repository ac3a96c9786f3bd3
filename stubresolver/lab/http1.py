"""HTTP/1.1 for the lab's readers of logs (RFC 9112), by h11. No socket, no TLS, no clock; see conversations.py."""

from collections.abc import Callable

import h11

from stubresolver.lab.log_api import Page

Read = Callable[[str], Page | None]
"""The target of a GET -> its page; None for silence. Never raises."""


class HttpConversation:
    """Requests one after the other on one connection, each answered before the next is looked at."""

    def __init__(self, read: Read) -> None:
        self.ended = False
        self.cut = False
        self._read = read
        self._http = h11.Connection(h11.SERVER)

    def receive_data(self, data: bytes) -> bytes:
        """Take plaintext and give the responses that it asks for."""
        if not data:  # the start of a conversation; to h11 it would be the end of one
            return b""
        reply = b""
        try:
            self._http.receive_data(data)
            while not self.ended:
                event = self._http.next_event()
                if event is h11.NEED_DATA or event is h11.PAUSED:
                    return reply
                if isinstance(event, h11.Request):
                    reply += self._respond(event)
                if isinstance(event, h11.ConnectionClosed) or self._http.our_state is h11.MUST_CLOSE:
                    self.ended = True
                elif isinstance(event, h11.EndOfMessage) and self._http.our_state is h11.DONE:
                    self._http.start_next_cycle()
        except h11.RemoteProtocolError:
            self.ended = True
        return reply

    def _respond(self, request: h11.Request) -> bytes:
        if request.method != b"GET":
            page: Page | None = Page(b"", 405)
        else:
            page = self._read(request.target.decode("ascii", "replace"))
        if page is None:
            return b""
        headers = [("content-type", page.content_type), ("content-length", str(len(page.body)))]
        events = (h11.Response(status_code=page.status, headers=headers), h11.Data(page.body), h11.EndOfMessage())
        return b"".join(self._http.send(event) or b"" for event in events)
