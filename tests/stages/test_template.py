"""A chat template over a model: what the stage is named by, the date it fixes, and where its answers end."""

import json
from pathlib import Path

import pytest

from harness.core.errors import HarnessError
from harness.models.chat import render_prompt
from harness.models.load import load_tokenizer
from harness.models.settings import ModelSettings
from harness.stages.model import weights
from tests.models.chatty import CHATML, DATED, HEADS, base_model
from tests.stages.running import run


def settings(folder: Path, **values: str) -> ModelSettings:
    return ModelSettings.model_validate_json(json.dumps({"model": f"path:{folder}", **values}))


def begins(folder: Path) -> str:
    return render_prompt(load_tokenizer(folder), [{"role": "user", "content": "hi"}]).split("\n")[0]


def test_the_date_that_a_recipe_sets(tmp_path: Path) -> None:
    base = base_model(tmp_path / "base", DATED)
    plain, dated = weights(settings(base), {}), weights(settings(base, template_date="2025-02-03"), {})
    assert begins(base) == "Today is 26 Jul 2024."
    assert dated.stage.params == {"part": "", "date": "2025-02-03"}
    assert dated.stage.id not in {plain.stage.id, weights(settings(base, template_date="2025-02-04"), {}).stage.id}
    assert begins(run(dated.stage, tmp_path)) == "Today is 03 Feb 2025."


def test_a_date_that_no_template_writes_is_refused(tmp_path: Path) -> None:
    base = base_model(tmp_path / "base", HEADS)
    with pytest.raises(HarnessError, match="writes no date"):
        run(weights(settings(base, template_date="2025-02-03"), {}).stage, tmp_path)


def test_a_template_laid_over_a_model_ends_its_answers(tmp_path: Path) -> None:
    """Its own generation config, and not the file of the model it is laid over, which may be a link."""
    base, file = base_model(tmp_path / "base", CHATML), tmp_path / "t.jinja"
    before = (base / "generation_config.json").read_bytes()
    file.write_text(HEADS)
    made = weights(settings(base, chat_template=str(file)), {})
    assert made.stage.params == {"part": ""}
    folder = run(made.stage, tmp_path)
    ends = json.loads((folder / "generation_config.json").read_text())["eos_token_id"]
    assert load_tokenizer(folder).convert_ids_to_tokens(ends) == ["<|over|>", "<eos>"]
    assert (base / "generation_config.json").read_bytes() == before
