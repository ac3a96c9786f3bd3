"""The lab's zone by DoT in a process of its own, so that it can live in another network than the test.

    python -m tests.interop.zoneserver FOLDER PORT

Beside the lab's names: a chain of aliases, and a name whose addresses fit no datagram. Serves until it is ended.
"""

import sys
from pathlib import Path

import dns.rdataset
import trio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from stubresolver.lab.authority import Credential
from stubresolver.lab.servers import DotServer
from stubresolver.lab.zone import LabZone

CHAIN = ("first", "second", "third")  # .lab, each an alias of the next; the last one of www.example.lab
MANY = [f"198.51.100.{number}" for number in range(100)]  # addresses of many.lab: 1,600 octets


def make_zone() -> LabZone:
    """The lab's zone and what is added to it."""
    zone = LabZone()
    targets = [f"{label}.lab." for label in CHAIN[1:]] + ["www.example.lab."]
    for label, target in zip(CHAIN, targets, strict=True):
        zone._zone.replace_rdataset(f"{label}.lab.", dns.rdataset.from_text("IN", "CNAME", 300, target))
    zone._zone.replace_rdataset("many.lab.", dns.rdataset.from_text("IN", "A", 300, *MANY))
    return zone


def read_credential(folder: Path) -> Credential:
    """What a `new_folder` has."""
    key = load_pem_private_key((folder / "key.pem").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    chain = x509.load_pem_x509_certificates((folder / "chain.pem").read_bytes())
    return Credential(key, tuple(each.public_bytes(Encoding.DER) for each in chain))


async def serve(folder: Path, port: int) -> None:
    """Until it is cancelled."""
    server = DotServer(read_credential(folder), make_zone().answer, port=port)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        print("serving", flush=True)  # noqa: T201 - whoever started it waits for that


if __name__ == "__main__":
    trio.run(serve, Path(sys.argv[1]), int(sys.argv[2]))
