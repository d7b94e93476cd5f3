"""From token tables to ingredients of scores, a row per response; and the counts of prompts by outcome."""

from dataclasses import replace

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
        HarnessError: a named score does not exist, or a need of it is not in `have`.
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
    reason, or `no reward` where a wanted score needs a reward. Ingredients are null unless it is ok.

    Raises:
        HarnessError: a score that the settings name lacks an ingredient; rewards are ambiguous or of other ids.
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
    """The needs of scores that these tables meet."""
    have: dict[Need, bool] = {
        "tokens": True,
        "ranks": table.ranks is not None,
        "alone": table.alone is not None,
        "local": table.local is not None and table.steps is not None,
        "reward": rewards is not None,
    }
    return frozenset(need for need, available in have.items() if available)


def _reward_of(ids: "pd.Series[str]", rewards: pd.DataFrame) -> Floats:
    """(R,) rewards in the order of the responses, NaN for a response without a reward."""
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
    """The responses where `keep` (R,) is true, with their tokens."""
    tokens = np.repeat(keep, table.responses["tokens"].to_numpy(dtype=np.int64))
    arrays = {name: values[tokens] for name, values in vars(table).items() if isinstance(values, np.ndarray)}
    return replace(table, responses=table.responses[keep].reset_index(drop=True), **arrays)


def counts(parts: pd.DataFrame) -> pd.DataFrame:
    """Prompts by outcome, a row per (student, teacher) with COUNT_COLUMNS.

    prompts: the prompts that any teacher of the student has a row for = scored + missing (no row) + empty + other (no
    room, no reward); cut: responses of which only a beginning is scored; refused: scored responses that decline (null
    where `parts` has no column `refusal`); common: prompts for which every teacher with any scored response has one.
    """
    out = []
    for student, group in parts.groupby("student", sort=True):
        prompts = group["id"].nunique()
        scored = group[group["status"] == OK]
        common = int((scored["id"].value_counts() == scored["teacher"].nunique()).sum())
        for teacher, rows in group.groupby("teacher", sort=True):
            ok, empty = rows["status"] == OK, rows["status"] == EMPTY
            out.append(
                {
                    "student": student,
                    "teacher": teacher,
                    "prompts": prompts,
                    "scored": int(ok.sum()),
                    "missing": prompts - len(rows),
                    "empty": int(empty.sum()),
                    "other": int((~ok & ~empty).sum()),
                    "cut": int((ok & rows["cut"]).sum()),
                    "refused": int((ok & rows["refusal"]).sum()) if "refusal" in rows else None,
                    "common": common,
                }
            )
    return pd.DataFrame(out, columns=list(COUNT_COLUMNS)).astype({"refused": "Int64"})
