"""Mix general rows and rows of domains by ratio. Mixes of different ratios are nested.

Every dataset has a seeded order, and a mix takes its first rows: a domain's rows at ratio 0.05 are among those at 0.1,
and the general rows at ratio 0.1 are among those at 0.05.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from harness.core.errors import HarnessError
from harness.core.seeds import derive_seed

GENERAL = "train"
"""The name of the general part; no domain may have it."""


class Drawn(NamedTuple):
    """A row of a mix."""

    domain: str | None
    """None for a general conversation."""
    row: int
    """Its number in the dataset that it comes from."""
    source: str
    """Its id there."""

    @property
    def id(self) -> str:
        """Its id in the mix."""
        return f"{self.domain or GENERAL}/{self.source}"


def shares(ratio: float | Mapping[str, float], domains: Sequence[str]) -> dict[str, float]:
    """Each domain's share of the examples: a number is divided evenly; a domain missing in a mapping has share 0."""
    if isinstance(ratio, Mapping):
        return {name: float(ratio.get(name, 0.0)) for name in domains}
    return {name: ratio / len(domains) for name in domains}


def mix(
    general: Sequence[str],
    domains: Mapping[str, Sequence[str]],
    share: Mapping[str, float],
    examples: int | None,
    data_seed: int,
) -> list[Drawn]:
    """`examples` rows (by default as many as `general` holds) in a seeded order, `share` of them from each domain.

    The datasets are given by the ids of their rows. A domain's number of rows is rounded down; all others are general.

    Raises:
        HarnessError: a dataset holds fewer rows than its share.
    """
    total = len(general) if examples is None else examples
    # The addend keeps 0.29 * 100 from being 28.
    numbers = {name: math.floor(share[name] * total + 1e-9) for name in domains}
    rows = _drawn(general, None, total - sum(numbers.values()), 1 - sum(share.values()), total, data_seed)
    for name, number in numbers.items():
        rows += _drawn(domains[name], name, number, share[name], total, data_seed)
    return sorted(rows, key=lambda row: derive_seed(data_seed, "mixed", row.id))


def _drawn(
    ids: Sequence[str], domain: str | None, number: int, share: float, total: int, data_seed: int
) -> list[Drawn]:
    part = domain or GENERAL
    if len(ids) < number:
        name = f"domain '{domain}'" if domain else f"data.{GENERAL}"
        raise HarnessError(
            f"{name} holds {len(ids):,} rows, ratio {share:.4g} of {total:,} examples needs {number:,}",
            fix="Lower `examples`, or give more data: no row is taken twice.",
        )
    order = sorted(range(len(ids)), key=lambda row: derive_seed(data_seed, "mix", part, ids[row]))
    return [Drawn(domain, row, ids[row]) for row in order[:number]]
