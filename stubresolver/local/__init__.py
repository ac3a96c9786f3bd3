"""What is known here without asking anybody: special names, hosts, records, block lists, rebinding. Pure."""

from stubresolver.local.blocklist import BlockLists, NameTable
from stubresolver.local.hosts import Hosts, merge_hosts, parse_hosts
from stubresolver.local.knowledge import LocalCounts, LocalKnowledge
from stubresolver.local.listfile import ListFile
from stubresolver.local.options import BlockList, LocalOptions
from stubresolver.local.rebinding import RebindingGuard
from stubresolver.local.records import Record, StaticRecords
from stubresolver.local.replies import Withheld
from stubresolver.local.special import SpecialNames

__all__ = [
    "BlockList",
    "BlockLists",
    "Hosts",
    "ListFile",
    "LocalCounts",
    "LocalKnowledge",
    "LocalOptions",
    "NameTable",
    "RebindingGuard",
    "Record",
    "SpecialNames",
    "StaticRecords",
    "Withheld",
    "merge_hosts",
    "parse_hosts",
]
