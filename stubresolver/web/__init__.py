"""One https URL at a time, by names that our own upstreams resolve: log lists and proofs. Never for DNS."""

from stubresolver.web.fetch import Resolve, Web

__all__ = ["Resolve", "Web"]
