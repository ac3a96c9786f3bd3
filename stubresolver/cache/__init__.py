"""Answers and failures, kept within a bound of memory for as long as they say, and answers a while beyond their end.

`AnswerCache` is the whole of it; `pack` and `unpack` are the file that outlives a restart.
"""

from stubresolver.cache.answers import AnswerCache, CacheStatistics
from stubresolver.cache.entry import Entry, Replacement, is_answer
from stubresolver.cache.file import Kept, pack, unpack
from stubresolver.cache.options import CacheOptions

__all__ = [
    "AnswerCache",
    "CacheOptions",
    "CacheStatistics",
    "Entry",
    "Kept",
    "Replacement",
    "is_answer",
    "pack",
    "unpack",
]
