"""The lab's logs over real sockets and TLS, asked by the standard library's client."""

import contextlib
import http.client
import json
import socket
import ssl

import pytest
import trio
from cryptography.hazmat.primitives.serialization import Encoding

from stubresolver.lab.archive import HOST, Archive
from stubresolver.lab.dishonest import HUGE
from stubresolver.lab.http1 import HttpConversation
from stubresolver.lab.log_api import Page
from stubresolver.lab.world import World


@pytest.fixture(scope="module")
def world(now):
    return World(now)


@contextlib.asynccontextmanager
async def serving(world):
    """The archive of a world's logs, with its port."""
    archive = Archive(world.issue(names=[HOST], addresses=()), lambda: world.now)
    async with trio.open_nursery() as nursery:
        world.log_host = await nursery.start(archive.serve)
        archive.join(world.logs)
        yield archive, int(world.log_host.rpartition(":")[2])
        nursery.cancel_scope.cancel()


def get(world, port, *paths):
    """Each path of one connection: status and body."""
    context = ssl.create_default_context(cadata=world.lab.root.public_bytes(Encoding.PEM).decode())
    with contextlib.closing(http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=context)) as client:
        client.sock = context.wrap_socket(socket.create_connection(("127.0.0.1", port), 5), server_hostname=HOST)
        answers = []
        for path in paths:
            client.request("GET", path)
            response = client.getresponse()
            answers.append((response.status, response.read()))
        return answers


async def test_logs_are_read_over_https(world):
    """Several requests on one connection, each log under its own name, at the URLs that the log list has."""
    async with serving(world) as (_, port):
        paths = ("/alder-1/ct/v1/get-sth", "/birch-1/checkpoint", "/nobody/checkpoint", "/")
        answers = await trio.to_thread.run_sync(get, world, port, *paths)
    assert [status for status, _ in answers] == [200, 200, 404, 404]
    assert json.loads(answers[0][1])["tree_size"] == world.alder1.tree.size
    assert answers[1][1].startswith(f"logs.lab:{port}/birch-1\n".encode())
    urls = {log.description: log.url for log in world.log_list.logs.values()}
    assert urls["Alder 1"] == f"https://logs.lab:{port}/alder-1/"
    assert urls["Birch 1"] == f"https://logs.lab:{port}/birch-1/"


async def test_huge_page_arrives_whole(world):
    """A page of megabytes is sent to its end."""
    async with serving(world) as (archive, port):
        archive.fronts["alder-1"].instead = Page(bytes(HUGE))
        ((status, body),) = await trio.to_thread.run_sync(get, world, port, "/alder-1/ct/v1/get-sth")
    assert (status, len(body)) == (200, HUGE)


REQUEST = b"GET /checkpoint HTTP/1.1\r\nhost: logs.lab\r\n\r\n"


@pytest.mark.parametrize("piece", [1, 7, len(REQUEST), 10 * len(REQUEST)])
def test_requests_may_come_in_pieces(piece):
    """RFC 9112 s9.3.2: two requests in a row are answered in their order, however their octets arrive."""
    asked = []

    def read(path):
        asked.append(path)
        return Page(b"%d" % len(asked), content_type="text/plain")

    conversation = HttpConversation(read)
    octets = REQUEST + REQUEST
    reply = b"".join(conversation.receive_data(octets[at : at + piece]) for at in range(0, len(octets), piece))
    assert asked == ["/checkpoint", "/checkpoint"]
    assert reply.count(b"HTTP/1.1 200") == 2
    assert reply.endswith(b"\r\n\r\n2")
    assert not conversation.ended


def test_silence_answers_nothing_and_stays():
    """A page None leaves the client waiting."""
    conversation = HttpConversation(lambda _path: None)
    assert conversation.receive_data(REQUEST) == b""
    assert conversation.receive_data(REQUEST) == b""
    assert not conversation.ended


def test_nonsense_ends_the_connection():
    """What is no HTTP ends its own connection, and nothing is raised."""
    conversation = HttpConversation(lambda _path: Page(b""))
    assert conversation.receive_data(b"\0\1\2 nonsense\r\n\r\n") == b""
    assert conversation.ended


def test_other_methods_are_refused():
    """RFC 9110 s15.5.6: 405 where the method is not supported."""
    conversation = HttpConversation(lambda _path: Page(b""))
    assert conversation.receive_data(REQUEST.replace(b"GET", b"PUT")).startswith(b"HTTP/1.1 405 ")


def test_close_is_obeyed():
    """RFC 9112 s9.6: after "Connection: close" the connection ends."""
    conversation = HttpConversation(lambda _path: Page(b"bye"))
    reply = conversation.receive_data(REQUEST.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
    assert reply.endswith(b"bye")
    assert conversation.ended
