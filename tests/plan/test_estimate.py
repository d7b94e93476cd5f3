"""What a plan says its judges will be asked and cost, before anything runs."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import HarnessError
from harness.plan.build import Plan, build
from harness.plan.estimate import budgets, estimate, in_words
from harness.recipe.load import load
from harness.store.store import Store
from tests.cli import judged
from tests.cli.command import harness
from tests.cli.judged import TURNS


def planned(folder: Path, *sets: str) -> Plan:
    judged.words(folder, "http://127.0.0.1:9/v1")
    return build(load(folder / "judged.yaml", list(sets)))


def test_before_anything_is_there(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    (row,) = estimate(planned(tmp_path), store)
    assert (row.verdicts, row.calls, row.spent_usd) == (TURNS, TURNS, 0.0)
    assert row.completion_tokens == TURNS * 250
    assert row.usd is not None
    assert row.most_usd is not None
    assert TURNS * 250 * 60e-6 < row.usd < TURNS * 2048 * 60e-6 < row.most_usd
    assert not store.ledger.exists(), "a plan writes nothing"
    (line,) = in_words([row])
    assert row.price is not None
    assert line.startswith(f"judge gpt-4 (rating): {TURNS} verdicts, {TURNS} calls, about ")
    assert line.endswith(f"(list price of {row.price.as_of})")


def test_repeats_and_longer_answers_cost_more(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    (once,) = estimate(planned(tmp_path), store)
    (thrice,) = estimate(planned(tmp_path, "judge.repeats=3"), store)
    (longer,) = estimate(planned(tmp_path, "evaluate.0.mt_bench.max_new_tokens=1024"), store)
    assert thrice.calls == 3 * once.calls
    assert once.most_usd is not None
    assert thrice.most_usd == pytest.approx(3 * once.most_usd)
    assert longer.calls == once.calls
    assert longer.prompt_tokens > once.prompt_tokens
    assert longer.most_usd is not None
    assert longer.most_usd > once.most_usd


def test_batches_are_said_and_cost_half(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    (live,), (batch,) = (estimate(planned(tmp_path, *sets), store) for sets in ((), ("judge.batch=true",)))
    assert live.usd is not None
    assert batch.usd == pytest.approx(live.usd / 2)
    assert f"{TURNS} calls in batches, about" in in_words([batch])[0]
    assert batch.asked.digest == live.asked.digest, "the verdicts are the same judge's"


def test_a_protocol_of_two_calls(tmp_path: Path) -> None:
    (row,) = estimate(planned(tmp_path, "judge.protocol=expected"), Store(tmp_path / "store"))
    assert (row.verdicts, row.calls) == (TURNS, 2 * TURNS)
    assert row.completion_tokens == 2 * TURNS, "one token each"


def test_an_unknown_price_is_said_and_never_zero(tmp_path: Path) -> None:
    rows = estimate(planned(tmp_path, "judge.model=mystery"), Store(tmp_path / "store"))
    assert (rows[0].usd, rows[0].most_usd) == (None, None)
    (line,) = in_words(rows)
    assert "no price is known" in line
    assert "$" not in line
    with pytest.raises(HarnessError, match="no price is known for the judge mystery") as caught:
        budgets(rows, 1.0)
    assert caught.value.where == "--max-cost"
    budgets(rows, None)


def test_a_judge_that_cannot_be_asked_is_found_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="log-probabilities"):
        planned(tmp_path, "judge.model=o3", "judge.protocol=expected")


@pytest.mark.parametrize(("model", "known"), [("gpt-4", True), ("mystery", False)])
def test_the_command(tmp_path: Path, model: str, known: bool) -> None:
    command = judged.words(tmp_path, "http://127.0.0.1:9/v1")
    done = harness("plan", *command[1:], "--set", f"judge.model={model}", "--format", "json")
    assert done.returncode == 0, done.stderr
    rows: dict[str, dict[str, Any]] = {row["stage"]: row for row in json.loads(done.stdout)}
    assert rows["judge"]["judge calls"] == rows["total"]["judge calls"] == TURNS
    assert (rows["judge"]["usd"] is not None) == known
    assert (rows["total"]["usd at most"] is not None) == known
    assert f"judge {model}" in done.stderr
    assert list(tmp_path.glob("results/store/ledger*")) == []
