"""Everything between us and the local clients: sockets in, answers out."""

from stubresolver.serve.allow import check_listening
from stubresolver.serve.answers import Answers
from stubresolver.serve.bind import Bound, ListenAddress, bind_all, bind_tcp, bind_udp, is_absent, parse_listen_address
from stubresolver.serve.front import Front
from stubresolver.serve.options import ListenOptions
from stubresolver.serve.tcp import TcpServer, TcpStatistics
from stubresolver.serve.udp import UdpServer, UdpStatistics

__all__ = [
    "Answers",
    "Bound",
    "Front",
    "ListenAddress",
    "ListenOptions",
    "TcpServer",
    "TcpStatistics",
    "UdpServer",
    "UdpStatistics",
    "bind_all",
    "bind_tcp",
    "bind_udp",
    "check_listening",
    "is_absent",
    "parse_listen_address",
]
