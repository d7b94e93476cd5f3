"""Base models that were tuned under templates whose turns end otherwise than their texts do."""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from harness.core.lines import write_lines
from harness.train.api import steps
from harness.train.job import TrainJob, TrainPlace
from harness.train.run import train
from harness.train.settings import StepSettings
from tests.models.chatty import CHATML, HEADS, LAST, TRIMS, base_model, tokenizer
from tests.train.stored import stored

BASES = {"trims": (TRIMS, True), "heads": (HEADS, True), "last": (LAST, False)}
"""Templates whose turns end otherwise than texts; of the last one decoding hides no token."""
METHODS = ("sft", "kd", "lora")
ANSWERS = [(f"Say {i}.", "Yes.") for i in range(8)]
TEXTS = [(f"What is {i} and {i % 7}?", f"It is {i + i % 7}. No, {i}.") for i in range(40)]
LEARN = {"max_steps": 60, "learning_rate": 3e-2, "batch_size": 4, "warmup_steps": 5, "save_every": 1000}
FINE: dict[str, Any] = {"max_steps": 100, "learning_rate": 1e-2}


def tuned(method: str, name: str, folder: Path, width: int = 32) -> Path:
    """The folder of a model that learned by `method` to answer "Yes." under the template `name`."""
    data = conversations(folder / "answers.jsonl", ANSWERS)
    if method == "lora":  # Adapters alone teach a random model nothing.
        base = with_words(folder, *BASES[name], width)
        return trained("sft", base, data, folder / method, **FINE, lora={"rank": 16, "alpha": 32.0})
    base = base_model(folder / "base", *BASES[name], width=width)
    teacher = trained("sft", base, data, folder / "sft")
    if method == "sft":
        return teacher
    weight: dict[str, Any] = {"lambda": 1.0}  # of the teacher alone
    return trained(method, base, data, folder / method, {"teacher": teacher}, **weight)


def with_words(folder: Path, template: str, hidden: bool, width: int = 32) -> Path:
    """A model that wrote other answers under another template and is given this one, as a base model is."""
    untrained = base_model(folder / "untrained", CHATML, hidden, width=width)
    model = trained("sft", untrained, conversations(folder / "texts.jsonl", TEXTS), folder / "words", **FINE)
    base = shutil.copytree(model, folder / "knowing")
    shutil.copyfile(untrained / "generation_config.json", base / "generation_config.json")
    tokenizer(template, hidden=hidden).save_pretrained(base)
    return base


def conversations(file: Path, pairs: Iterable[tuple[str, str]]) -> Path:
    """A file of conversations of one question and one answer."""
    roles = ("user", "assistant")
    rows = ([{"role": role, "content": text} for role, text in zip(roles, pair, strict=True)] for pair in pairs)
    write_lines(file, ({"id": str(i), "messages": messages} for i, messages in enumerate(rows)))
    return file


def trained(
    name: str, student: Path, data: Path, out: Path, teachers: Mapping[str, Path] | None = None, **changed: Any
) -> Path:
    """The model that a step makes of a student."""
    step = steps()[name]
    settings = step.settings.model_validate({**LEARN, "micro_batch_size": 4, **changed})
    assert isinstance(settings, StepSettings)
    out.mkdir()
    tokens = stored(data, student, out / "tokens", settings.max_length).tokens
    place = TrainPlace(student, tokens, out, out / "work", out / "events", teachers or {})
    train(TrainJob(step, settings, 0, out.name), place, lambda *_, **__: None)
    return out / "model"
