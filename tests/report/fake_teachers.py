"""Made-up teachers: their parts, and the run in which students learnt from them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from harness.bench.api import SAMPLE_COLUMNS
from harness.record.run import CellRecord
from harness.record.teachers import TaughtPair
from harness.report.load import RunData
from harness.report.teachers import TeacherData
from harness.teachers.settings import TeachersSettings
from tests.report.fake_run import METRICS, a_run

FAMILIES = {"llama": (7.0, 13.0, 70.0), "qwen": (1.8, 7.0, 14.0), "gemma": (2.0, 7.0)}
NAMES = tuple(f"{family}-{size:g}b" for family, sizes in FAMILIES.items() for size in sizes)


def teachers(
    *,
    names: Sequence[str] = NAMES,
    students: Sequence[str] = ("small", "wide"),
    prompts: int = 60,
    trained: bool = True,
    settings: TeachersSettings | None = None,
    missing: int = 2,
) -> TeacherData:
    """Later teachers have larger rewards and larger losses; the last misses `missing` prompts, has an empty and a
    refused response."""
    settings = settings or TeachersSettings.model_validate({"reward": {"program": True}})
    parts = pd.concat(
        [_parts(s, k, t, name, prompts) for k, s in enumerate(students) for t, name in enumerate(names)],
        ignore_index=True,
    )
    last = parts["teacher"] == names[-1]
    parts["status"] = np.where(last & (parts["id"] == "p000"), "empty", "ok")
    parts["refusal"] = last & (parts["id"] == "p001")
    parts["cut"] = last & (parts["id"] == "p002")
    gone = [f"p{prompts - 1 - k:03d}" for k in range(missing)]
    parts = parts[~(last & parts["id"].isin(gone))].reset_index(drop=True)
    sizes = [size for sizes in FAMILIES.values() for size in sizes]
    families = [family for family, sizes in FAMILIES.items() for _ in sizes]
    about = pd.DataFrame(
        {
            "teacher": list(names),
            "family": [families[k % len(families)] for k in range(len(names))],
            "size_b": [sizes[k % len(sizes)] for k in range(len(names))],
            "strength": [10.0 + 4 * k for k in range(len(names))],
            "cost_usd": [None] + [0.5 * k for k in range(1, len(names))],
            "baseline": [None] * len(names),
            "response_seconds": [12.5 * (k + 1) for k in range(len(names))],
        }
    )
    pairs = tuple(
        TaughtPair(s, t, tuple(f"{s} from {t}, seed {seed}" for seed in (0, 1))) for s in students for t in names
    )
    return TeacherData("fake-teachers", settings, parts, pairs, about, _run(pairs, names) if trained else None)


def _parts(student: str, k: int, t: int, name: str, prompts: int) -> pd.DataFrame:
    rng = np.random.default_rng([k, t])
    hard = np.random.default_rng(k).normal(size=prompts)
    reward = 3 + 0.5 * t + 0.6 * hard + 0.8 * rng.normal(size=prompts)
    loss = 0.8 + 0.1 * k + 0.02 * (t - 3) ** 2 + 0.1 * hard + 0.3 * rng.random(size=prompts)
    return pd.DataFrame(
        {
            "student": student,
            "teacher": name,
            "id": [f"p{i:03d}" for i in range(prompts)],
            "reward.0": reward,
            "loss.0": loss,
            "car.0": reward,
            "car.1": loss,
            "length.0": rng.integers(40, 300, size=prompts).astype(float),
        }
    )


def _run(pairs: Sequence[TaughtPair], names: Sequence[str]) -> RunData:
    rng = np.random.default_rng(3)
    rows = [
        {"cell": cell, "benchmark": "pocket", "metric": "general", "category": "overall"}
        | {
            "value": 40 + 3.0 * names.index(pair.teacher) + 2 * rng.normal(),
            "stderr": 1.0,
            "n": 90,
            "total": 90,
        }
        for pair in pairs
        for cell in pair.cells
    ]
    return a_run(
        pd.DataFrame(columns=["cell", *SAMPLE_COLUMNS]),
        pd.DataFrame(rows),
        name="fake-teachers",
        description="Which teacher suits a small student?",
        created="",
        command="",
        versions={"python": "3.11.9", "torch": "2.13.0"},
        cells=tuple(CellRecord(str(r["cell"]), {}, baseline=False, failed=None) for r in rows),
        metrics=(METRICS[1],),
    )
