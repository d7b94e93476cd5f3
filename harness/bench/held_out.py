"""Held-out sets of conversations that a benchmark measures a model on: their settings, their files, their scores."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeVar

import pandas as pd

from harness.bench.api import SCORE_COLUMNS
from harness.data.settings import DatasetSettings
from harness.stats.clustered import clustered_mean

DATA = "data.json"
"""The file in which each set's record of what was read is (`Dataset.record`)."""
_SUFFIX = {"file": "", "prompts": ":prompts"}
"""Of the roles of a set's files, by their roles in the set."""


class HeldOutSet(DatasetSettings):
    """One held-out set of instruction data in a usual schema."""

    role: Literal["general", "domain"] = "general"


S = TypeVar("S", bound=HeldOutSet)


def check_named(sets: dict[str, S]) -> dict[str, S]:
    """The sets; ValueError for a name that can be no metric's, or a set without exactly one source."""
    for name, one in sets.items():
        if not name.isidentifier():
            raise ValueError(f"the name of a set is letters, digits and _, not '{name}'")
        if ("file" in one.sources) == (one.pocket is not None):
            raise ValueError(f"the set '{name}' has exactly one of 'path', 'hf' and 'pocket'")
    return sets


def input_files(sets: Mapping[str, HeldOutSet]) -> dict[str, Path]:
    """The files of all sets by role: SET, SET:prompts, and with #00001, #00002, ... the further files of each."""
    from harness.data.hub import source_files

    return {
        name + _SUFFIX[role] + (f"#{k:05d}" if k else ""): file
        for name, one in sets.items()
        for role, files in source_files(one).items()
        for k, file in enumerate(files)
    }


def files_of(name: str, files: Mapping[str, Path]) -> dict[str, list[Path]]:
    """The pinned files of a set, as its settings' `sources` call them."""
    of_set = {
        role: [files[key] for key in sorted(files) if key.partition("#")[0] == name + suffix]
        for role, suffix in _SUFFIX.items()
    }
    return {role: found for role, found in of_set.items() if found}


def mean_over_items(benchmark: str, samples: pd.DataFrame) -> pd.DataFrame:
    """Each metric's mean over items, so that one long item weighs no more than a short one."""
    rows = []
    for metric, own in samples.groupby("metric", sort=False):
        scored = own[own["value"].notna()]
        mean = (
            clustered_mean(scored["value"].to_numpy(dtype=float), scored["cluster"].tolist())
            if len(scored)
            else (None, None)
        )
        rows.append((benchmark, metric, "overall", *mean, len(scored), len(own)))
    return pd.DataFrame(rows, columns=list(SCORE_COLUMNS)).astype({"value": "Float64", "stderr": "Float64"})
