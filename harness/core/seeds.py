"""Seeds that depend on what is done, never on when: order, concurrency and resume change nothing."""

from harness.core.canonical import Json, digest


def derive_seed(*parts: Json) -> int:
    """A 63-bit seed from any mix of names and numbers, for example (seed, stage, sample, turn)."""
    return int(digest(list(parts))[:16], 16) >> 1
