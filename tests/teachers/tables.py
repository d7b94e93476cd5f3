"""Token tables and parts that are small enough to work out by hand."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from harness.teachers.api import TokenTable
from harness.teachers.parts import score_parts
from harness.teachers.settings import TeachersSettings


def table(
    logprobs: Mapping[str, Sequence[float]],
    *,
    ranks: Sequence[int] | None = None,
    alone: Sequence[float] | None = None,
    local: Sequence[float] | None = None,
    steps: Sequence[int] | None = None,
    sizes: Sequence[int] | None = None,
    unscored: Mapping[str, str] | None = None,
) -> TokenTable:
    """Log-probabilities per response; `unscored` adds responses with a status, at the start."""
    rows: list[dict[str, object]] = [
        {"id": name, "status": status, "tokens": 0, "prompt_tokens": 3, "bytes": 0, "characters": 0, "cut": False}
        for name, status in (unscored or {}).items()
    ]
    for k, (name, values) in enumerate(logprobs.items()):
        size = sizes[k] if sizes else 4 * len(values)
        rows.append(
            {
                "id": name,
                "status": "ok",
                "tokens": len(values),
                "prompt_tokens": 3,
                "bytes": size,
                "characters": size,
                "cut": False,
            }
        )
    return TokenTable(
        responses=pd.DataFrame(rows),
        logprobs=np.array([v for values in logprobs.values() for v in values], dtype=np.float64),
        ranks=None if ranks is None else np.array(ranks, dtype=np.int64),
        alone=None if alone is None else np.array(alone, dtype=np.float64),
        local=None if local is None else np.array(local, dtype=np.float64),
        steps=None if steps is None else np.array(steps, dtype=np.int64),
    )


def rewards(**values: float | None) -> pd.DataFrame:
    """Rewards by prompt."""
    return pd.DataFrame({"id": list(values), "reward": pd.array(list(values.values()), dtype="Float64")})


def settings(*scores: str, **changes: object) -> TeachersSettings:
    """Settings with these scores."""
    return TeachersSettings.model_validate({"scores": scores, **changes})


def parts_of(
    teachers: Mapping[str, tuple[TokenTable, pd.DataFrame | None]],
    wanted: TeachersSettings,
    student: str = "base",
) -> pd.DataFrame:
    """The parts of several teachers for one student."""
    return pd.concat(
        [score_parts(t, r, wanted).assign(student=student, teacher=name) for name, (t, r) in teachers.items()],
        ignore_index=True,
    )


def random_parts(teachers: int, prompts: int, seed: int = 0, student: str = "base", noise: float = 0.3) -> pd.DataFrame:
    """Parts of reward, loss and car with random values: later teachers are better and more likely."""
    rng = np.random.default_rng(seed)
    hard = rng.normal(size=prompts)
    frames = []
    for t in range(teachers):
        reward = 5 + 0.3 * t + hard + noise * rng.normal(size=prompts)
        loss = 3 - 0.05 * t + 0.2 * hard + 0.2 * rng.uniform(size=prompts)
        frames.append(
            pd.DataFrame(
                {
                    "student": student,
                    "teacher": f"t{t:02d}",
                    "id": [f"p{k:04d}" for k in range(prompts)],
                    "status": "ok",
                    "cut": False,
                    "reward.0": reward,
                    "loss.0": loss,
                    "car.0": reward,
                    "car.1": loss,
                }
            )
        )
    return pd.concat(frames, ignore_index=True)
