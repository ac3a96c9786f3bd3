"""From a query to a reply: cache, what is known here, one exchange for all who ask the same at once."""

from stubresolver.resolve.options import ResolverOptions, ResolverStatistics
from stubresolver.resolve.ports import Detour, Exchanger, Local
from stubresolver.resolve.resolver import Resolver

__all__ = ["Detour", "Exchanger", "Local", "Resolver", "ResolverOptions", "ResolverStatistics"]
