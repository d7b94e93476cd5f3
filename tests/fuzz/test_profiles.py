"""What the slow target runs."""

from tests.fuzz import test_files, test_recipes, test_verdicts
from tests.fuzz.profiles import MANY


def test_the_slow_target_runs_ten_thousand_cases() -> None:
    for module in (test_recipes, test_verdicts, test_files):
        assert any(name.startswith(module.__name__) for name in MANY)
    assert sum(MANY.values()) >= 10_000
