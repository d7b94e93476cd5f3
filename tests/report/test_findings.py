from dataclasses import replace

import pytest

from harness.report.comparisons import Comparison
from harness.report.facts import findings
from harness.report.groups import Group, group_cells
from harness.report.load import RunData, load_run
from harness.report.reach import Reach
from harness.stats.intervals import Difference
from harness.stats.spread import Spread
from tests.report.fake_run import PROGRAM_METRIC
from tests.report.full_run import full_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunData:
    return load_run(full_run(tmp_path_factory.mktemp("run")))


def comparison(one: Group, other: Group) -> Comparison:
    difference = Difference(1.2, -3.0, 5.4, 2.0, 2.0, 0.5, (3, 3), 60, Spread(None))
    metric = replace(PROGRAM_METRIC, metric="general_score", unit="% correct")
    return Comparison(
        one, other, metric, difference, 1.0, 12.0, "underpowered", "6 seeds", False, (None, None), Reach({})
    )


@pytest.mark.parametrize(
    ("mde", "unit", "said"),
    [
        (12.0, "% correct", "; only ±12.0 or more could have been seen; 6 seeds would show"),
        (153.4, "% correct", "; no difference of any size could have been seen; 6 seeds would show"),
        (153.4, "tokens", "; only ±153.4 or more could have been seen"),
    ],
)
def test_what_could_have_been_seen(run: RunData, mde: float, unit: str, said: str) -> None:
    one, other = group_cells(run)[:2]
    c = comparison(one, other)
    ((verdict, sentence),) = findings(run, [replace(c, mde=mde, metric=replace(c.metric, unit=unit))])
    assert verdict == "underpowered"
    assert said in sentence
