"""The reasoning teachers of RSR, arXiv 2601.14249, table 1, and what follows from it."""

from functools import partial

from harness.report.tables import Column
from harness_papers import drawing, published, stronger
from harness_papers.item import Item
from harness_papers.layout import Block, printed
from harness_papers.own import OwnRun
from harness_papers.own_teachers import by_score
from harness_papers.validate import RSR

_PAPER = "five students taught by 11 reasoning teachers; mean accuracy on reasoning tasks"
_BASELINES = "rsr_baselines"


def _table1() -> Block:
    frame = published.table("rsr_table1")
    students = [c for c in frame.columns if c not in ("teacher", "params", "teacher_score")]
    columns = [Column(s, s, "%", "number") for s in students]
    return printed(
        frame, ["teacher", "params"], [*columns, Column("teacher_score", "the teacher's own", "%", "number")]
    )


def _scores_of(run: OwnRun) -> Block:
    wanted = {"rsr", "size", "strength", "leave_one_student_out"}
    return by_score(run, _BASELINES, _PAPER, wanted.__contains__, {})


ITEMS = (
    Item(
        "rsr_table1",
        "11 reasoning teachers on five students",
        f"{RSR}, table 1",
        "published",
        (Column("teacher", "teacher"), Column("params", "size")),
        _table1,
        note="Mean accuracy. DeepSeek-R1 on Qwen2.5-7B is 47.3 here and 47.8 elsewhere in the paper.",
        draw=partial(drawing.dots, label="{}", outcome="mean accuracy of the student, %"),
        caption="Accuracy of each student by teacher, best mean first. Filled: published.",
    ),
    Item(
        _BASELINES,
        "RSR beside what costs nothing: the other students, size, the teacher's own score",
        f"{RSR}, table 1",
        "derived",
        (Column("metric", "metric"),),
        partial(stronger.predictors, RSR, ("rsr",)),
        note="RSR's .86 is the printed mean of absolute values; the scores per teacher are not published. Brackets: "
        "95 % over teachers.",
        own=_scores_of,
        draw=partial(drawing.dots, label="Spearman correlation with {}", outcome="mean accuracy"),
        caption="Open: derived from table 1. RSR's own correlation is printed as a mean only: it has no markers.",
    ),
    Item(
        "rsr_larger_models",
        "Sizes within families of reasoning teachers",
        f"{RSR}, from table 1",
        "derived",
        stronger.FAMILY_LEAD,
        partial(stronger.families, RSR),
        note="As for arXiv 2411.07133; the families (Qwen3, GPT-OSS) are read off the names.",
        draw=lambda blocks: drawing.ladders(
            published.rsr_outcomes(), published.rsr_meta(), "mean accuracy over five students, %"
        ),
        caption="Mean accuracy against the teacher's size; grey: no family. Open: derived from table 1.",
        together=True,
    ),
)
