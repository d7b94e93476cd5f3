"""From token tables to ingredients of scores, one row per response; and what became of every prompt."""

import numpy as np
import pandas as pd

from harness.core.errors import HarnessError
from harness.teachers.api import Evidence, Floats, Need, TeacherScore, TokenTable, all_scores
from harness.teachers.settings import TeachersSettings

OK, EMPTY, NO_REWARD = "ok", "empty", "no reward"
COUNT_COLUMNS = ("student", "teacher", "prompts", "scored", "missing", "empty", "other", "cut", "refused", "common")


def wanted_scores(settings: TeachersSettings, have: frozenset[Need]) -> list[TeacherScore]:
    """The scores that the settings name, or all whose needs are among `have`.

    Raises:
        HarnessError: a named score does not exist or lacks what it needs.
    """
    known = all_scores()
    for name in settings.scores:
        if name not in known:
            raise HarnessError(f"no score {name!r}", where="teachers.scores", fix=f"One of: {', '.join(known)}.")
        lacking = known[name].needs - have
        if lacking:
            raise HarnessError(
                f"the score {name!r} needs {', '.join(sorted(lacking))}",
                where="teachers.scores",
                fix="Name a reward in teachers.reward, or leave the score out."
                if "reward" in lacking
                else "Run the forward pass with it, or leave the score out.",
            )
    names = settings.scores or [name for name, score in known.items() if score.needs <= have]
    return [known[name] for name in dict.fromkeys(names)]


def score_parts(table: TokenTable, rewards: pd.DataFrame | None, settings: TeachersSettings) -> pd.DataFrame:
    """Ingredients of the wanted scores, a row per response: `id`, `status`, `cut`, and `<score>.<k>`.

    `rewards` has columns id and reward (nullable). Status is `ok` or why the response is not scored: the table's
    reason, or `no reward` where a wanted score needs one. Ingredients are null unless it is ok.

    Raises:
        HarnessError: a score is asked for by name and lacks what it needs; rewards that are ambiguous or of other ids.
    """
    scores = wanted_scores(settings, _have(table, rewards))
    values = None if rewards is None else _reward_of(table.responses["id"], rewards)
    status = table.responses["status"].astype(object).to_numpy(copy=True)
    if values is not None and any("reward" in score.needs for score in scores):
        status[(status == OK) & ~np.isfinite(values)] = NO_REWARD
    usable = status == OK
    evidence = Evidence(_rows(table, usable), None if values is None else values[usable], settings)
    out: dict[str, object] = {
        "id": table.responses["id"].to_numpy(),
        "status": status,
        "cut": table.responses["cut"].to_numpy(dtype=bool),
    }
    for score in scores:
        ingredients = score.parts(evidence)
        for k in range(ingredients.shape[1]):
            column = np.full(len(status), np.nan)
            column[usable] = np.where(np.isfinite(ingredients[:, k]), ingredients[:, k], np.nan)
            out[f"{score.name}.{k}"] = column
    return pd.DataFrame(out)


def _have(table: TokenTable, rewards: pd.DataFrame | None) -> frozenset[Need]:
    """What scores can be made from."""
    have: dict[Need, bool] = {
        "tokens": True,
        "ranks": table.ranks is not None,
        "alone": table.alone is not None,
        "local": table.local is not None and table.steps is not None,
        "reward": rewards is not None,
    }
    return frozenset(need for need, there in have.items() if there)


def _reward_of(ids: "pd.Series[str]", rewards: pd.DataFrame) -> Floats:
    """(R,) rewards in the order of the responses, NaN where there is none."""
    twice = rewards["id"][rewards["id"].duplicated()]
    if len(twice):
        raise HarnessError(
            f"two rewards for the prompt {twice.iloc[0]!r}", where="teachers.reward", fix="Narrow it with `where`."
        )
    if len(rewards) and len(ids) and not ids.isin(rewards["id"]).any():
        raise HarnessError(
            f"no reward belongs to a response (ids like {rewards['id'].iloc[0]!r} against {ids.iloc[0]!r})",
            where="teachers.reward",
            fix="Name the column with the prompts' ids in `on`.",
        )
    by_id = rewards.set_index("id")["reward"].reindex(ids)
    return by_id.to_numpy(dtype=np.float64, na_value=np.nan)


def _rows(table: TokenTable, keep: np.ndarray) -> TokenTable:
    """The responses in `keep` with their tokens."""
    tokens = np.repeat(keep, table.responses["tokens"].to_numpy(dtype=np.int64))
    return TokenTable(
        responses=table.responses[keep].reset_index(drop=True),
        logprobs=table.logprobs[tokens],
        ranks=None if table.ranks is None else table.ranks[tokens],
        alone=None if table.alone is None else table.alone[tokens],
        local=None if table.local is None else table.local[tokens],
        steps=None if table.steps is None else table.steps[tokens],
    )


def counts(parts: pd.DataFrame) -> pd.DataFrame:
    """What became of the prompts, a row per (student, teacher) with COUNT_COLUMNS.

    prompts: those that any teacher of the student has a row for = scored + missing (no row) + empty + other (no room,
    no reward); cut: scored responses of which only a beginning was; refused: scored responses that decline (null where
    `parts` has no column `refusal`); common: prompts that all teachers with a scored response have one for.
    """
    rows = []
    for student, group in parts.groupby("student", sort=True):
        prompts = group["id"].nunique()
        scored = group[group["status"] == OK]
        common = int((scored["id"].value_counts() == scored["teacher"].nunique()).sum())
        for teacher, own in group.groupby("teacher", sort=True):
            ok, empty = own["status"] == OK, own["status"] == EMPTY
            rows.append(
                {
                    "student": student,
                    "teacher": teacher,
                    "prompts": prompts,
                    "scored": int(ok.sum()),
                    "missing": prompts - len(own),
                    "empty": int(empty.sum()),
                    "other": int((~ok & ~empty).sum()),
                    "cut": int((ok & own["cut"]).sum()),
                    "refused": int((ok & own["refusal"]).sum()) if "refusal" in own else None,
                    "common": common,
                }
            )
    return pd.DataFrame(rows, columns=list(COUNT_COLUMNS)).astype({"refused": "Int64"})
