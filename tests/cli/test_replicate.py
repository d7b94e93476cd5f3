"""`harness replicate`: a finished run in a new draw."""

import json
from pathlib import Path

import pytest

from harness.api.replicated import in_draw
from harness.core.errors import HarnessError
from harness.record.stages import named_stages
from harness.report.comparisons import Comparison
from harness.report.groups import Group
from harness.report.reach import Reach
from harness.report.replicated import held
from harness.stats.intervals import Difference
from harness.stats.spread import Spread
from harness.stats.verdict import Verdict
from tests.cli.command import harness
from tests.cli.recipes import TINY, write
from tests.report.fake_run import PROGRAM_METRIC


def test_a_run_and_its_new_draw_stand_beside_each_other(tmp_path: Path) -> None:
    recipe = write(tmp_path, TINY + "report: {baseline: method=sft}\n")
    assert harness("run", recipe, "--results", tmp_path).returncode == 0
    done = harness("replicate", "tiny", "--results", tmp_path, "--format", "json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [(row["cell"], row["baseline"], row["metric"]) for row in rows] == [
        ("kd", "sft", "pocket general score"),
        ("kd", "sft", "pocket domain score"),
    ]
    assert all(row["drawn"] == "2 trainings; one teacher, one sample of data" for row in rows)
    assert (tmp_path / "runs/tiny-draw-1/report.html").exists()
    before, anew = (named_stages(tmp_path / "runs" / run) for run in ("tiny", "tiny-draw-1"))
    kinds = [{stage for stage, kind, _ in stages if kind == "train"} for stages in (before, anew)]
    assert not kinds[0] & kinds[1], "every training is another"
    assert len(kinds[0]) == len(kinds[1])


def test_the_new_draw_is_the_first_that_the_run_has_not_seen(tmp_path: Path) -> None:
    path = write(tmp_path, TINY + "draws: {n: 3, of: [teacher]}\n")
    recipe = in_draw(path, "tiny", None, [])
    assert (recipe.name, recipe.axes["draw"], recipe.drawn) == ("tiny-draw-3", ["3"], ("teacher",))
    assert {cell.labels.get("draw", "3") for cell in recipe.cells} == {"3"}
    assert "student" in [cell.name for cell in recipe.baselines], "what no draw touches is there, too"
    assert in_draw(path, "tiny", 7, []).axes["draw"] == ["7"]
    with pytest.raises(HarnessError, match="the run has draw 2 already"):
        in_draw(path, "tiny", 2, [])


def test_no_such_run(tmp_path: Path) -> None:
    done = harness("replicate", "nothing", "--results", tmp_path)
    assert done.returncode == 1
    assert "no such run" in done.stderr


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (("better", 3.0), ("better", 2.0), "yes, shown again"),
        (("better", 3.0), ("underpowered", 0.5), "yes"),
        (("better", 3.0), ("underpowered", -0.5), "no"),
        (("worse", -3.0), ("better", 2.0), "no"),
        (("underpowered", 3.0), ("better", 2.0), ""),
        (("better", 3.0), ("not tested", None), ""),
    ],
)
def test_what_held(before: tuple[Verdict, float], after: tuple[Verdict, float | None], words: str) -> None:
    assert held(compared(*before), compared(*after)) == words


def compared(verdict: Verdict, value: float | None) -> Comparison:
    group = Group("a", (), ())
    difference = None if value is None else Difference(value, None, None, None, None, None, (1, 1), 1, Spread(None))
    return Comparison(group, group, PROGRAM_METRIC, difference, None, None, verdict, "", False, (None, None), Reach({}))
