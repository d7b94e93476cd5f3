"""The mix stage: one dataset of several, whose id depends on what is mixed alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import HarnessError
from harness.core.lines import read_lines
from harness.data.settings import DatasetSettings
from harness.stages import dataset, mix
from harness.stages.api import Stage
from harness.train.steps.sft import SFTSettings
from tests.stages.running import run


def pocket(examples: int, share: float, seed: int) -> Stage:
    text = json.dumps({"pocket": {"examples": examples, "domain_ratio": share, "seed": seed}})
    return dataset.stage(DatasetSettings.model_validate_json(text), 0, "pocket")


GENERAL, SHOP = pocket(40, 0.0, 1), pocket(24, 1.0, 2)


def mixed(data_seed: int = 0, **settings: Any) -> Stage:
    step = SFTSettings.model_validate_json(json.dumps({"data": "mix", **settings}))
    return mix.stage(step, GENERAL, {"shop": SHOP}, data_seed)


def test_rows_and_facts(tmp_path: Path) -> None:
    folder = run(mixed(ratio=0.25), tmp_path)
    rows = list(read_lines(folder / "conversations.jsonl"))
    assert {tuple(row) for row in rows} == {("id", "messages", "domain", "source")}
    assert sum(row["domain"] == "shop" for row in rows) == 10
    assert sum(row["domain"] is None for row in rows) == 30
    assert json.loads((folder / "mix.json").read_text()) == {
        "examples": 40,
        "parts": [
            {"domain": None, "rows": 30, "share": 0.75, "available": 40},
            {"domain": "shop", "rows": 10, "share": 0.25, "available": 24},
        ],
    }


def test_too_few(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"domain 'shop' holds 24 rows, ratio 1 of 40 examples needs 40"):
        run(mixed(ratio=1), tmp_path)
    assert run(mixed(ratio=1, examples=24), tmp_path / "fewer")


def test_identity() -> None:
    assert mixed(ratio=0.1).id == mixed(ratio={"shop": 0.1}).id, "one share, written in two ways"
    assert mixed(ratio=0.1).id == mixed(ratio=0.1, learning_rate=1e-3, batch_size=64).id
    others = [mixed(ratio=0.2), mixed(ratio=0.1, examples=30), mixed(data_seed=1, ratio=0.1)]
    assert len({mixed(ratio=0.1).id, *(stage.id for stage in others)}) == 4


def test_order_of_domains_is_identity() -> None:
    """A batch counts domains in the recipe's order."""
    step = SFTSettings.model_validate_json('{"data": "mix", "ratio": 0.2}')
    one, other = (dict.fromkeys(names, SHOP) for names in (["a", "b"], ["b", "a"]))
    assert mix.stage(step, GENERAL, one, 0).id != mix.stage(step, GENERAL, other, 0).id
