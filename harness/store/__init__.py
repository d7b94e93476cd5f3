"""Artifacts by digest, their locks, and the ledger of what cannot be recomputed."""
