"""Stronger Models are NOT Stronger Teachers for Instruction Tuning, arXiv 2411.07133."""

from functools import cache, partial

from harness.report.tables import Column, Entry
from harness.report.teacher_tables import score_title
from harness.teachers.api import all_scores
from harness.teachers.validation import MEAN
from harness_papers import drawing, published
from harness_papers.item import Item
from harness_papers.layout import Block, decimals_of, printed, quoted
from harness_papers.own import OwnRun
from harness_papers.own_teachers import by_generator, by_score, by_size, paradox_block
from harness_papers.validate import CAR, published_paradox, published_validation

_PAPER = (
    "five bases taught by 19 open generators on 100K Magpie-Air prompts; AlpacaEval 2 (805 instructions) and "
    "Arena-Hard (500 questions) with GPT-4 Turbo as judge, as their authors define them"
)
_METRICS = {
    "rm1": "reward: ArmoRM-Llama3-8B",
    "rm2": "reward: Skywork-Llama-3.1-8B",
    "rm3": "reward: Skywork-Gemma-2-27B",
    "ifd_gpt2": "IFD-GPT2",
    "ifd_self": "IFD-Self",
    "ppl_gpt2": "PPL-GPT2",
    "ppl_self": "PPL-Self",
    "length": "response length",
    "car": "CAR",
}
"""Table 4's metrics, in its order."""
_OWN_SCORES = {"ifd": "ifd_self", "ppl": "ppl_self", "length": "length", "car": "car"}
"""A run's score -> the metric of table 4 that it is."""
_AE2 = (Column("ae2_lc", "AlpacaEval 2 LC", "%", "number"), Column("ae2_wr", "AlpacaEval 2 WR", "%", "number"))
_HARD = Column("arena_hard_wr", "Arena-Hard", "%", "number")
_AP = Column("ap", "AP", "%", "number")
_SHORT = {"ae2_wr": "WR", "ae2_lc": "LC", "arena_hard_wr": "Arena-Hard"}
_GENERATORS = (
    Column("family", "family"),
    Column("model_id", "model"),
    Column("release", "release"),
    Column("size", "size"),
)
FAMILY_LEAD = (
    Column("student", "student base"),
    Column("family", "family"),
    Column("teachers", "teachers, small to big"),
    Column("sizes_b", "billions"),
    Column("outcomes", "students achieved"),
    Column("from", "source"),
)


def _table1() -> Block:
    return printed(published.table("stronger_teachers_table1"), [c.key for c in _GENERATORS], ())


def _table2() -> Block:
    return printed(published.table("stronger_teachers_table2"), ["generator"], (*_AE2, _HARD, _AP))


def _table3() -> Block:
    return printed(published.table("stronger_teachers_table3"), ["base", "method"], (*_AE2, _HARD, _AP))


def _table4() -> Block:
    rows = {metric: (title,) for metric, title in _METRICS.items()}
    entries: dict[tuple[str, str], Entry] = {}
    columns = {}
    for line in published.stronger_teachers_correlations().to_dict("records"):
        base = "Average" if line["student"] == MEAN else str(line["student"])
        columns[base] = Column(base, base, "", "number")
        entries[str(line["score"]), base] = quoted(line["value"], 4)
    return Block("published", rows, columns, entries)


def _table6() -> Block:
    frame = published.table("stronger_teachers_table6")
    rows = {str(g): (str(g),) for g in frame["generator"]}
    columns: dict[str, Column] = {}
    entries: dict[tuple[str, str], Entry] = {}
    for base, part in frame.groupby("base", sort=False):
        for metric, title in _SHORT.items():
            key = f"{base} {title}"
            columns[key] = Column(key, key, "%", "number")
            places = decimals_of(frame[metric])
            entries |= {(str(g), key): quoted(v, places) for g, v in zip(part["generator"], part[metric], strict=True)}
    return Block("published", rows, columns, entries)


def _figure2() -> Block:
    frame = published.stronger_teachers_outcomes()
    rows = {str(t): (str(t),) for t in frame["teacher"]}
    columns = {str(s): Column(str(s), str(s), "", "number") for s in frame["student"]}
    entries: dict[tuple[str, str], Entry] = {
        (str(r["teacher"]), str(r["student"])): quoted(r["value"], 2, "derived") for r in frame.to_dict("records")
    }
    return Block("published", rows, columns, entries)


_validated = cache(published_validation)
"""Its bootstrap over teachers takes a second, and table and figure of two papers ask for it."""


def predictors(paper: str, printed_first: tuple[str, ...]) -> Block:
    """Score x base: the paper's own score as printed, beside what one would otherwise go by, derived."""
    found = _validated()
    found = found[(found["paper"] == paper) & (found["statistic"] == "spearman") & found["value"].notna()]
    found = found[~found["score"].isin(["random"])]
    found = found[(found["source"] == "derived") | found["score"].isin(printed_first)]
    rows: dict[str, tuple[str, ...]] = {}
    columns: dict[str, Column] = {}
    entries: dict[tuple[str, str], Entry] = {}
    for line in found.to_dict("records"):
        base, score = "mean" if line["student"] == MEAN else str(line["student"]), str(line["score"])
        columns[base] = Column(base, base, "", "number")
        rows[score] = (_METRICS.get(score, score_title(score)),)
        derived = line["source"] == "derived"
        interval = (line["low"], line["high"]) if derived else None
        places = 4 if derived else decimals_of(found.loc[found["score"] == score, "value"])
        entries[score, base] = quoted(line["value"], places, "derived" if derived else "published", interval)
    return Block("published", rows, columns, entries)


def families(paper: str) -> Block:
    """`teachers.paradox` of a paper's outcomes."""
    found = published_paradox()
    return paradox_block(found[found["paper"] == paper], "published")


def _generators_of(run: OwnRun, name: str, averages_only: bool) -> Block:
    return by_generator(run, name, _PAPER, averages_only=averages_only)


def _metrics_of(run: OwnRun) -> Block:
    return by_score(run, _T4, _PAPER, lambda score: score in all_scores(), _OWN_SCORES)


def _baselines_of(run: OwnRun) -> Block:
    wanted = {"car", "reward", "length", "size", "strength", "leave_one_student_out"}
    return by_score(run, _BASELINES, _PAPER, wanted.__contains__, _OWN_SCORES)


_T4, _T6, _F2 = "stronger_teachers_table4", "stronger_teachers_table6", "stronger_teachers_figure2"
_SIZES, _BASELINES = "stronger_teachers_larger_models", "stronger_teachers_baselines"
_SPEARMAN = "Spearman correlation with {}"
_GENERATOR = (Column("generator", "generator"),)
_METRIC = (Column("metric", "metric"),)

ITEMS = (
    Item(
        "stronger_teachers_table1",
        "The response generators",
        f"{CAR}, table 1",
        "published",
        _GENERATORS,
        _table1,
    ),
    Item(
        "stronger_teachers_table2",
        "GPT-4 against open generators",
        f"{CAR}, table 2",
        "published",
        _GENERATOR,
        _table2,
        note="Other runs than table 6: the two must not be merged. AP is the mean of LC and Arena-Hard.",
    ),
    Item(
        "stronger_teachers_table3",
        "Best and worst of N, sampling, greedy",
        f"{CAR}, table 3",
        "published",
        (Column("base", "base"), Column("method", "method")),
        _table3,
        note="N = 5. Its base Qwen2.5-3B-Instruct is table 6's Qwen2.5-3B.",
    ),
    Item(
        _T4,
        "Nine metrics: Spearman correlation with average performance",
        f"{CAR}, table 4",
        "published",
        _METRIC,
        _table4,
        note="Over 19 generators, without GPT-4. A run's scores are signed by their declared direction.",
        own=_metrics_of,
        draw=partial(drawing.dots, label=_SPEARMAN, outcome="average performance"),
        caption="How well each metric orders the generators. Filled: published; with an interval: a run.",
    ),
    Item(
        _T6,
        "19 generators on five student bases",
        f"{CAR}, table 6",
        "published",
        _GENERATOR,
        _table6,
        note="Columns re-aligned: in print they are shifted.",
        own=partial(_generators_of, name=_T6, averages_only=False),
    ),
    Item(
        _F2,
        "Average performance by generator and base",
        f"{CAR}, figure 2, from table 6",
        "derived",
        _GENERATOR,
        _figure2,
        note="AP = (AlpacaEval 2 LC + Arena-Hard) / 2, in percent.",
        own=partial(_generators_of, name=_F2, averages_only=True),
        draw=partial(drawing.dots, label="{}", outcome="average performance, %"),
        caption="Average performance of each base by generator, best mean first. Open: derived from table 6.",
    ),
    Item(
        _BASELINES,
        "CAR beside what costs nothing: the other students, the generator's size",
        f"{CAR}, tables 4 and 6",
        "derived",
        _METRIC,
        partial(predictors, CAR, ("car", "rm3", "length")),
        note="Its other students: the generators ranked by their mean AP on the other four bases. Brackets: 95 % over "
        "generators. Correlations as printed have no interval: the scores per generator are not published.",
        own=_baselines_of,
        draw=partial(drawing.dots, label=_SPEARMAN, outcome="average performance"),
        caption="Filled: published; open: derived from table 6.",
    ),
    Item(
        _SIZES,
        "Sizes within families: does the bigger generator make the better student?",
        f"{CAR}, from tables 1 and 6",
        "derived",
        FAMILY_LEAD,
        partial(families, CAR),
        note="Share of the pairs of one family in which the bigger generator made the better student (AP); one half "
        "is what size tells if it tells nothing. n/total: pairs won, pairs. Brackets: 95 %, by family or base.",
        own=lambda run: by_size(run, _SIZES, _PAPER),
        draw=lambda blocks: drawing.ladders(
            published.stronger_teachers_outcomes(), published.stronger_teachers_meta(), "mean AP over five bases, %"
        ),
        caption="Mean AP against the generator's size; a line per family. Open: derived from table 6.",
        together=True,
    ),
)
