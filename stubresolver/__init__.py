"""A stub resolver that demands Certificate Transparency of its upstream before it asks anything.

The map of the house, from the ground up (docs/design.md draws it):

    errors      the exception tree
    wire        DNS messages as octets             (pure; knows no certificates)
    ct          Certificate Transparency           (pure; knows no DNS)
    verify      what is demanded of an upstream    (pure; knows no DNS)
    transport   TLS, DoT and DoH as machines without sockets
    cache       answers as octets with a lifetime
    resolve     from a client's query to its answer
    evidence    every chain and verdict, kept
    upstream    the one room where both wings meet: dial() judges before a query octet can be written
    serve       UDP and TCP listeners
    config, app configuration, and the tree of tasks
    lab         an embedded world with a CA, logs, upstreams and rogues
    cli         the commands; the only place that prints or exits
"""

from datetime import UTC, datetime

__version__ = "0.1.0"
# A moment that has passed wherever this release runs: a floor under the clock. Raised with each release, to the date of
# the log list that ships with it.
RELEASED = datetime(2026, 11, 2, tzinfo=UTC)
