"""The published tables, typed, and in the form that validation reads.

`data/*.csv` is what the papers print, slips included; a slip is mended here, where it can be read, never in the data.
Only the alignment of Stronger Teachers' table 6 (its columns are shifted in print) is mended in the file itself.
"""

import re
from dataclasses import dataclass
from importlib.resources import files

import pandas as pd

from harness.core.errors import HarnessError


@dataclass(frozen=True)
class Published:
    """One table, and where it is printed."""

    title: str
    source: str
    note: str = ""
    """What a reader of these numbers must know."""


TABLES = {
    "teacher_million_main": Published("MT-Bench and AlpacaEval of dense and MoE students", "arXiv 2406.19112"),
    "teacher_million_radar_by_eye": Published(
        "MT-Bench by category", "arXiv 2406.19112", "Read off a radar plot by eye, to about 0.1."
    ),
    "stronger_teachers_table1": Published("The response generators", "arXiv 2411.07133, table 1"),
    "stronger_teachers_table2": Published(
        "GPT-4 against open generators", "arXiv 2411.07133, table 2", "Other runs than table 6: not to be merged."
    ),
    "stronger_teachers_table3": Published(
        "Best and worst of N, sampling, greedy",
        "arXiv 2411.07133, table 3",
        "Its base Qwen2.5-3B-Instruct is table 6's Qwen2.5-3B.",
    ),
    "stronger_teachers_table4": Published(
        "Spearman correlation of nine metrics with average performance",
        "arXiv 2411.07133, table 4",
        "Over 19 generators, without GPT-4.",
    ),
    "stronger_teachers_table6": Published(
        "19 generators on five student bases", "arXiv 2411.07133, table 6", "Columns re-aligned."
    ),
    "rsr_table1": Published(
        "11 reasoning teachers on five students",
        "arXiv 2601.14249, table 1",
        "DeepSeek-R1 on Qwen2.5-7B is 47.3 here and 47.8 elsewhere in the paper.",
    ),
}

RADAR_MODELS = {
    "flip_2x7b_beta": "Flip-2x7B-Instruct-beta",
    "gpt4": "GPT-4",
    "gpt35_turbo": "GPT-3.5-turbo",
    "claude_v1": "Claude 1",
    "llama2_70b_chat": "Llama2-Chat",
}
"""Column of the radar's data -> the model as the main table names it."""


def table(name: str) -> pd.DataFrame:
    """A published table as printed.

    Raises:
        HarnessError: there is no table of this name.
    """
    if name not in TABLES:
        raise HarnessError(f"no published table {name!r}", fix=f"One of: {', '.join(TABLES)}.")
    with files("harness_papers").joinpath("data", f"{name}.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file)


def average_performance(frame: pd.DataFrame) -> pd.Series:
    """Stronger Teachers' AP: the mean of AlpacaEval 2's length-controlled win rate and Arena-Hard's, in percent."""
    return (frame["ae2_lc"] + frame["arena_hard_wr"]) / 2


def stronger_teachers_outcomes() -> pd.DataFrame:
    """student, teacher, value (AP in percent): 5 bases x 19 generators."""
    printed = table("stronger_teachers_table6")
    frame = printed.rename(columns={"base": "student", "generator": "teacher"})[["student", "teacher"]]
    return frame.assign(value=average_performance(printed))


def stronger_teachers_meta() -> pd.DataFrame:
    """teacher (as table 6 names it), family, size_b: the 20 generators; GPT-4 has no size and no outcome."""
    printed = table("stronger_teachers_table1")
    names = [re.sub(r"(-128k)?-(instruct|it)$", "", model, flags=re.IGNORECASE) for model in printed["model_id"]]
    return pd.DataFrame({"teacher": names, "family": printed["family"], "size_b": _billions(printed["size"])})


def stronger_teachers_correlations() -> pd.DataFrame:
    """student, score, value: Spearman's correlations of table 4, its Average under `mean`."""
    printed = table("stronger_teachers_table4").replace({"base": {"Average": "mean"}})
    return printed.melt(id_vars="base", var_name="score").rename(columns={"base": "student"})


def rsr_outcomes() -> pd.DataFrame:
    """student, teacher, value (mean accuracy in percent): 5 students x 11 teachers."""
    printed = table("rsr_table1").drop(columns=["params", "teacher_score"])
    return printed.melt(id_vars="teacher", var_name="student")[["student", "teacher", "value"]]


def rsr_meta() -> pd.DataFrame:
    """teacher, family, size_b, strength (the teacher's own mean accuracy in percent).

    The paper names no families: two are read off the names (Qwen3, GPT-OSS), every other teacher stands alone.
    """
    printed = table("rsr_table1")
    family = printed["teacher"].str.extract(r"^(Qwen3|GPT-OSS)-", expand=False).fillna(printed["teacher"])
    return pd.DataFrame(
        {
            "teacher": printed["teacher"],
            "family": family,
            "size_b": _billions(printed["params"]),
            "strength": printed["teacher_score"],
        }
    )


def _billions(sizes: pd.Series) -> pd.Series:
    return sizes.str.removesuffix("B").astype("float64")
