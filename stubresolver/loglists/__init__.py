"""Log lists from elsewhere: read in four formats, checked, and merged so that no single source is believed. PURE.

source = read_source(name, origin_of(where), octets, signature=None, keys=(), current=current, now=now)
merged = merge(current, [source, another], now=now)
merged.octets, merged.changes, merged.withheld
"""

from stubresolver.loglists.changes import Change, ChangeKind, diff
from stubresolver.loglists.deciding import Withheld
from stubresolver.loglists.merging import Merged, merge
from stubresolver.loglists.reading import MAXIMUM_LIST, Format, ReadList, read_list
from stubresolver.loglists.signatures import KeyKind, SigningKey, load_key, verify_signature
from stubresolver.loglists.sources import Source, origin_of, read_source
from stubresolver.loglists.writing import write_list

__all__ = [
    "MAXIMUM_LIST",
    "Change",
    "ChangeKind",
    "Format",
    "KeyKind",
    "Merged",
    "ReadList",
    "SigningKey",
    "Source",
    "Withheld",
    "diff",
    "load_key",
    "merge",
    "origin_of",
    "read_list",
    "read_source",
    "verify_signature",
    "write_list",
]
