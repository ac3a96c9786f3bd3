"""The budgets: what a query costs beside the peers that Debian ships. `python -m bench`; see README.md."""
