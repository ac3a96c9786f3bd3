"""From a query to a reply: cache, names answered here, one exchange for all who ask the same at once."""

from stubresolver.resolve.resolver import Exchanger, Resolver, ResolverOptions, ResolverStatistics

__all__ = ["Exchanger", "Resolver", "ResolverOptions", "ResolverStatistics"]
