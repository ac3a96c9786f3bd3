"""What a person may say about the cache; the module that owns the behaviour owns its options."""

from typing import Annotated

import msgspec


class CacheOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much is kept, for how long, and what is done with it at its end."""

    # 12 MiB hold about 15,000 answers of a usual size, and keep the whole process below 70 MiB; unbound's message and
    # RRset caches have 4 MiB each by default.
    max_octets: Annotated[int, msgspec.Meta(ge=0, le=1 << 32)] = 12 << 20
    # A shorter life is raised to this one. 0: the zone's owner decides, as with unbound's cache-min-ttl, whose manual
    # warns of values beyond an hour: "the data in the cache does not match up with the actual data any more". What may
    # not be kept at all (TTL 0) is not kept whatever stands here.
    min_ttl: Annotated[int, msgspec.Meta(ge=0, le=3600)] = 0
    # RFC 8767 s4 suggests a cap "on the order of days to weeks, with a recommended cap of 604,800 seconds"; one day is
    # unbound's cache-max-ttl and forgets a wrong answer sooner.
    max_ttl: Annotated[int, msgspec.Meta(ge=0, le=604_800)] = 86_400
    # RFC 2308 s5: "Values of one to three hours have been found to work well and would make sensible a default."
    max_negative_ttl: Annotated[int, msgspec.Meta(ge=0, le=86_400)] = 10_800
    # RFC 9520 s3.2: "the initial time for negatively caching a resolution failure might be set to 5 seconds and
    # increased after each retry that results in another resolution failure"; at least 1 second, at most 5 minutes.
    failure_seconds: Annotated[float, msgspec.Meta(ge=1, le=300)] = 5.0
    # The end of that increase. A minute instead of five: a zone that was repaired should be seen again soon.
    max_failure_seconds: Annotated[float, msgspec.Meta(ge=1, le=300)] = 60.0
    # Failures on our own way to the upstream, where the upstream's health has its own back-off: RFC 9520's minimum, so
    # that a laptop that wakes up resolves again as soon as its network is back.
    unreached_seconds: Annotated[float, msgspec.Meta(ge=1, le=5)] = 1.0
    # Whether an answer that has ended is given out where no better one can be had in time (RFC 8767). On: a person
    # whose upstream is away for a minute should not notice.
    stale: bool = True
    # For how long after its end. RFC 8767 s5: "a maximum stale timer ... the recommended default is ... between 1 and 3
    # days".
    stale_seconds: Annotated[int, msgspec.Meta(ge=1, le=604_800)] = 259_200
    # Whether a name that is asked for again and again is fetched anew before its end: unbound's prefetch, which "gives
    # about 10 percent more traffic". On, because a stub's upstream bears that, and its user never waits for such names.
    prefetch: bool = True
    # Whether the cache is written to the state folder when the service stops, and read when it starts. Off: a file of
    # all names that were asked is a diary, and who turns it on should know.
    persist: bool = False
