"""What `make test-processors` runs, and on which processor it says that it did not."""

import sys
from pathlib import Path

import pytest

from tests import processors

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("best", "ways"),
    [
        ("default", ("default",)),
        ("avx2", ("default", "avx2")),
        ("avx512", ("default", "avx2", "avx512")),
        ("sve256", ("default",)),
    ],
)
def test_a_processor_has_all_up_to_its_best(best: str, ways: tuple[str, ...]) -> None:
    assert processors.had(best) == ways


def test_a_new_room_is_in_by_itself(tmp_path: Path) -> None:
    for room in ("store", "new"):
        (tmp_path / room).mkdir()
        (tmp_path / room / "test_x.py").touch()
    (tmp_path / "empty").mkdir()
    assert processors.rooms(tmp_path) == [tmp_path / "new"]


def test_what_is_left_out_is_there() -> None:
    there = {path.name for path in processors.TESTS.iterdir() if path.is_dir()}
    assert there >= processors.NO_FLOATS
    assert {"models", "train", "stages", "teachers", "stats"} <= {path.name for path in processors.rooms()}


@pytest.mark.parametrize(
    ("failing", "code", "last"), [(None, 0, "2 of 2 ways passed"), (("avx2", 1), 1, "1 of 2 ways passed")]
)
def test_each_way_is_run_and_what_is_lacking_is_said(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    failing: tuple[str, int] | None,
    code: int,
    last: str,
) -> None:
    monkeypatch.setattr(processors, "best_capability", lambda: "avx2")
    monkeypatch.setattr(processors, "passed", lambda capability, threads, given: (capability, threads) != failing)
    monkeypatch.setattr(sys, "argv", ["x", "--threads", "1"])
    assert processors.main() == code
    assert capsys.readouterr().out.splitlines() == ["avx512: SKIPPED, this processor's best is avx2", last]
