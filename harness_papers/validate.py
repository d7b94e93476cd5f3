"""The validation of `teachers.validation`, run on what the papers print, beside the correlations they print.

No paper prints its score per teacher, so a score's own correlation can only be quoted (`source` is `printed`: no
interval, no other statistic). What needs nothing but outcomes, sizes and strengths is computed (`derived`).
"""

import pandas as pd

from harness.teachers.paradox import paradox
from harness.teachers.validation import COLUMNS, MEAN, validate
from harness_papers import published

CAR, RSR = "arXiv 2411.07133", "arXiv 2601.14249"
_GENERATORS = 19
"""Table 4 leaves GPT-4 out."""


def published_validation(seed: int = 0) -> pd.DataFrame:
    """`paper`, `source` (printed or derived), then validation's COLUMNS: how well scores and baselines predict."""
    nothing = pd.DataFrame(columns=["student", "teacher", "score", "value", "direction"])
    car = validate(nothing, published.stronger_teachers_outcomes(), published.stronger_teachers_meta(), seed=seed)
    rsr = validate(nothing, published.rsr_outcomes(), published.rsr_meta(), seed=seed)
    parts = [
        _printed_car().assign(paper=CAR, source="printed"),
        car.assign(paper=CAR, source="derived"),
        _printed_rsr().assign(paper=RSR, source="printed"),
        rsr.assign(paper=RSR, source="derived"),
    ]
    frame = pd.concat([part.dropna(axis="columns", how="all") for part in parts], ignore_index=True)
    counts = dict.fromkeys(("n", "total", "no_score", "no_outcome", "null_runs"), "Int64")
    return frame.reindex(columns=["paper", "source", *COLUMNS]).astype(counts)


def published_paradox() -> pd.DataFrame:
    """`paper`, then the columns of `teachers.paradox`: does the bigger teacher make the better student?"""
    car = paradox(published.stronger_teachers_outcomes(), published.stronger_teachers_meta())
    rsr = paradox(published.rsr_outcomes(), published.rsr_meta())
    frame = pd.concat([car.assign(paper=CAR), rsr.assign(paper=RSR)], ignore_index=True)
    return frame[["paper", *car.columns]]


def published_checks() -> pd.DataFrame:
    """Does what is printed follow from what is printed?

    table, row, quantity, printed, derived, agrees, exact (to the printed digits, not only to within one unit of the
    last), note.
    """
    return pd.concat([_performances(), _averages(), _attainable(), _twice(), _radar_means()], ignore_index=True)


def _printed_car() -> pd.DataFrame:
    rows = published.stronger_teachers_correlations()
    return rows.assign(
        baseline=rows["score"].isin(["length"]),
        statistic="spearman",
        n=_GENERATORS,
        total=_GENERATORS + 1,
        note="as printed; per-teacher scores are not published",
    )


def _printed_rsr() -> pd.DataFrame:
    note = "absolute, as printed (the score's direction is lower); per-teacher scores are not published"
    row = {"score": "rsr", "baseline": False, "student": MEAN, "statistic": "spearman", "value": 0.86}
    return pd.DataFrame([row | {"n": 11, "total": 11, "note": note}])


def _performances() -> pd.DataFrame:
    """The 15 printed averages of tables 2 and 3."""
    found = []
    for name, keys, decimals in (
        ("stronger_teachers_table2", ["generator"], 2),
        ("stronger_teachers_table3", ["base", "method"], 3),
    ):
        frame = published.table(name)
        derived = published.average_performance(frame)
        found.append(
            pd.DataFrame(
                {
                    "table": name,
                    "row": frame[keys].agg(" / ".join, axis=1),
                    "quantity": "ap",
                    "printed": frame["ap"],
                    "derived": derived,
                    "agrees": _agrees(frame["ap"], derived, decimals),
                    "exact": _exact(frame["ap"], derived, decimals),
                    "note": "(AlpacaEval 2 LC + Arena-Hard) / 2",
                }
            )
        )
    return pd.concat(found, ignore_index=True)


def _averages() -> pd.DataFrame:
    """Table 4's Average row: the mean of the five correlations, each unrounded where it is attainable."""
    cells = published.stronger_teachers_correlations()
    nearest = _nearest_spearman(cells["value"], _GENERATORS)
    exact = cells["value"].where(~_agrees(cells["value"], nearest, 4), nearest)
    derived = cells.assign(exact=exact)[cells["student"] != MEAN].groupby("score")["exact"].mean()
    printed = cells[cells["student"] == MEAN].set_index("score")["value"][derived.index]
    return pd.DataFrame(
        {
            "table": "stronger_teachers_table4",
            "row": "Average",
            "quantity": derived.index,
            "printed": printed.to_numpy(),
            "derived": derived.to_numpy(),
            "agrees": _agrees(printed, derived, 4).to_numpy(),
            "exact": _exact(printed, derived, 4).to_numpy(),
            "note": "mean of the five correlations",
        }
    )


def _attainable() -> pd.DataFrame:
    """Table 4's cells: is there a ranking of 19 generators without ties that has this correlation?"""
    cells = published.stronger_teachers_correlations()
    cells = cells[cells["student"] != MEAN]
    nearest = _nearest_spearman(cells["value"], _GENERATORS)
    return pd.DataFrame(
        {
            "table": "stronger_teachers_table4",
            "row": cells["student"].to_numpy(),
            "quantity": cells["score"].to_numpy(),
            "printed": cells["value"].to_numpy(),
            "derived": nearest.to_numpy(),
            "agrees": _agrees(cells["value"], nearest, 4).to_numpy(),
            "exact": _exact(cells["value"], nearest, 4).to_numpy(),
            "note": "nearest Spearman correlation of 19 teachers without ties",
        }
    )


def _twice() -> pd.DataFrame:
    """Numbers that a paper prints twice: table 3's greedy rows are table 6's Gemma-2-9b; and one of RSR's."""
    greedy = published.table("stronger_teachers_table3").query("method == 'Greedy'")
    greedy = greedy.assign(base=greedy["base"].str.removesuffix("-Instruct")).set_index("base")
    whole = published.table("stronger_teachers_table6").query("generator == 'Gemma-2-9b'").set_index("base")
    decimals = {"ae2_lc": 2, "ae2_wr": 2, "arena_hard_wr": 1}
    rows = [
        {
            "table": "stronger_teachers_table3",
            "row": f"{base} / Greedy",
            "quantity": metric,
            "printed": greedy.loc[base, metric],
            "derived": whole.loc[base, metric],
            "note": "printed again in table 6, generator Gemma-2-9b",
        }
        for base in greedy.index
        for metric in decimals
    ]
    elsewhere = "printed again elsewhere in the paper"
    rows.append(dict(zip(rows[0], ("rsr_table1", "DeepSeek-R1", "Qwen2.5-7B", 47.3, 47.8, elsewhere), strict=True)))
    frame = pd.DataFrame(rows)
    same = frame["printed"] == frame["derived"]
    near = (frame["printed"] - frame["derived"]).abs() < 0.01 + 1e-9
    return frame.assign(agrees=near, exact=same)


def _radar_means() -> pd.DataFrame:
    """The radar's eight categories, read by eye, against MT-Bench as the main table prints it."""
    main = published.table("teacher_million_main").set_index("model")["mt_bench"]
    means = published.table("teacher_million_radar_by_eye").drop(columns="category").mean()
    names = pd.Series(published.RADAR_MODELS)[means.index]
    printed = main[names].to_numpy()
    return pd.DataFrame(
        {
            "table": "teacher_million_radar_by_eye",
            "row": names.to_numpy(),
            "quantity": "mean of the categories",
            "printed": printed,
            "derived": means.to_numpy(),
            "agrees": abs(printed - means.to_numpy()) < 0.1,
            "exact": False,
            "note": "against MT-Bench in the main table; read by eye, so to 0.1 at best",
        }
    )


def _nearest_spearman(values: pd.Series, n: int) -> pd.Series:
    """1 - 6 S / (n^3 - n) with S the sum of squared rank differences, which is even."""
    unit = 12 / (n**3 - n)
    return 1 - unit * ((1 - values) / unit).round()


def _agrees(printed: pd.Series, derived: pd.Series, decimals: int) -> pd.Series:
    """Rounded (a half goes both ways in print) or cut off after `decimals`: under one unit of the last digit apart."""
    return (printed - derived).abs() < 10.0**-decimals - 1e-9


def _exact(printed: pd.Series, derived: pd.Series, decimals: int) -> pd.Series:
    """Rounds to what is printed; a half may go either way."""
    return (printed - derived).abs() < 0.5 * 10.0**-decimals + 1e-9
