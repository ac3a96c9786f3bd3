"""The numbers of the DNS that this project speaks of, by their IANA names.

Plain integers and not enums, because the hot path compares them with octets.
"""

from typing import Final

# RCODEs: RFC 1035 s4.1.1, RFC 6891 s9.
NOERROR: Final = 0
FORMERR: Final = 1
SERVFAIL: Final = 2
NXDOMAIN: Final = 3
NOTIMP: Final = 4
REFUSED: Final = 5
BADVERS: Final = 16

# TYPEs: RFC 1035 s3.2.2, RFC 3596, RFC 2782, RFC 6672, RFC 6891, RFC 4034, RFC 5155, RFC 9460, RFC 9824.
A: Final = 1
NS: Final = 2
CNAME: Final = 5
SOA: Final = 6
PTR: Final = 12
HINFO: Final = 13
MX: Final = 15
TXT: Final = 16
SIG: Final = 24
KEY: Final = 25
AAAA: Final = 28
SRV: Final = 33
DNAME: Final = 39
OPT: Final = 41
DS: Final = 43
RRSIG: Final = 46
NSEC: Final = 47
NSEC3: Final = 50
SVCB: Final = 64
HTTPS: Final = 65
NXNAME: Final = 128
TSIG: Final = 250
ANY: Final = 255

# CLASS: RFC 1035 s3.2.4.
IN: Final = 1
CH: Final = 3

# Header bits, in the octet of the header that holds them: RFC 1035 s4.1.1, RFC 4035 s3.
QR: Final = 0x80  # octet 2
OPCODE: Final = 0x78
TC: Final = 0x02
RD: Final = 0x01
RA: Final = 0x80  # octet 3
AD: Final = 0x20
CD: Final = 0x10
RCODE: Final = 0x0F
