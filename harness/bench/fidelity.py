"""Fidelity: how near a model comes to its teacher, on its teacher's texts and on its own.

To each prompt of a held-out set teacher and model write an answer with the same seed. Both then read both answers, and
at each token of an answer stand KL(teacher || model) in nats, whether their likeliest token is the same, and the
difference of the probabilities that they give the token (its root mean square over an answer: RMS). A sample is an
answer's mean, and a score the mean over prompts, which are the clusters.

    SET_kl_teacher_text, SET_agreement_teacher_text, SET_rms_teacher_text    where the teacher leads
    SET_kl_own_text, SET_agreement_own_text, SET_rms_own_text                where the model leads
    SET_exposure_bias      the second KL - the first: what a model loses where its own words lead it

`fidelity.json` has mean, median, 99th percentile and maximum of the KL over all tokens of a set. A model that is its
own teacher scores 0 and agrees everywhere.

    fidelity: {sets: {chat: {pocket: {examples: 200, seed: 9}}}}
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field, field_validator

from harness.bench.api import Measured, MeasuredBenchmark, Metric, OpenMeasured, Sample
from harness.bench.held_out import DATA, HeldOutSet, check_named, files_of, input_files, mean_over_items
from harness.core.canonical import Json
from harness.core.errors import HarnessError
from harness.core.lines import write_json, write_lines
from harness.core.seeds import derive_seed
from harness.core.settings import Settings

if TYPE_CHECKING:
    from harness.generate.decoding import Row

Text = Literal["teacher_text", "own_text"]
TEXTS: tuple[Text, ...] = ("teacher_text", "own_text")
_UNITS = {"kl": "nats/token", "agreement": "% of tokens", "rms": "probability"}


class FidelitySettings(Settings):
    """Whose distribution, and on which prompts."""

    teacher: str = "teacher"
    """`teacher` (the recipe's) or a model reference; its vocabulary is the model's."""
    sets: dict[str, HeldOutSet] = Field(min_length=1)
    """Name -> set, of whose conversations the last answer is written anew; the name is part of the metrics' names."""
    temperature: float = Field(1.0, ge=0)
    """Of the answers; 0 takes the likeliest token."""
    max_new_tokens: int = Field(256, ge=1)
    max_length: int = Field(1024, ge=2)
    """Tokens, prompt included; a prompt that leaves no room for an answer is `missing`."""

    _named = field_validator("sets")(check_named)


@dataclass
class _Item:
    """A prompt, and what was found on the answers to it."""

    id: str
    question: str
    ids: list[int]
    """Empty where the prompt cannot be used."""
    values: dict[tuple[str, Text], float] = field(default_factory=dict)
    """(quantity, whose text) -> its mean over the answer's tokens."""
    texts: dict[Text, str] = field(default_factory=dict)


class Fidelity(OpenMeasured[FidelitySettings]):
    """The chosen sets."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Seven for each set; both KL and the exposure bias are headlines."""
        made = []
        for name, one in self.settings.sets.items():
            made += [Metric(f"{name}_kl_{text}", _UNITS["kl"], "lower", one.role) for text in TEXTS]
            made.append(Metric(f"{name}_exposure_bias", _UNITS["kl"], "lower", one.role))
            for text in TEXTS:
                made.append(Metric(f"{name}_agreement_{text}", _UNITS["agreement"], "higher", one.role, headline=False))
                made.append(Metric(f"{name}_rms_{text}", _UNITS["rms"], "lower", one.role, headline=False))
        return tuple(made)

    def measure(self, model: Measured) -> list[Sample]:
        """Seven rows per prompt.

        Raises:
            HarnessError: the teacher has another tokenizer; a set cannot be read, or none of its prompts can be used.
        """
        from harness.models.load import load_tokenizer, tokenizer_difference

        assert model.teacher is not None, "the plan gives it"
        if difference := tokenizer_difference(model.folder, model.teacher):
            raise HarnessError(
                f"model and teacher have different tokenizers: {difference}",
                where=self.settings.teacher,
                fix="Fidelity compares probabilities of the same tokens: name a teacher of the model's family.",
            )
        tokenizer, pair = load_tokenizer(model.folder), _Pair.load(model, self.settings)
        records: dict[str, Json] = {}
        sets: dict[str, list[_Item]] = {}
        for name, one in self.settings.sets.items():
            sets[name], records[name] = _items(one, files_of(name, self.files), tokenizer, self.settings, model.seed)
        total, done = sum(len(items) for items in sets.values()), 0
        facts: dict[str, Json] = {}
        for name, items in sets.items():
            divergences: dict[Text, list[float]] = {text: [] for text in TEXTS}
            usable = sorted((item for item in items if item.ids), key=lambda item: -len(item.ids))
            for start in range(0, len(usable), model.batch_size):
                batch = usable[start : start + model.batch_size]
                for text in TEXTS:
                    divergences[text] += pair.compare(batch, text, tokenizer, derive_seed(model.seed, name))
                done += len(batch)
                model.progress(done, total, "prompts")
            facts[name] = {text: _spread(values) for text, values in divergences.items()}
        write_json(model.out / "fidelity.json", facts, sort_keys=False)
        write_json(model.out / DATA, records, sort_keys=False)
        write_lines(model.out / "transcripts.jsonl", (_transcript(n, i) for n, items in sets.items() for i in items))
        return [row for name, items in sets.items() for item in items for row in _rows(name, item)]

    def aggregate(self, samples: pd.DataFrame) -> pd.DataFrame:
        """Each metric's mean over prompts."""
        return mean_over_items(BENCHMARK.name, samples)

    def export(self, folder: Path, model: str, measured: Path) -> None:
        """The spread of the KL over tokens, MODEL.json: no other tool has a format for this."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{model}.json").write_bytes((measured / "fidelity.json").read_bytes())


@dataclass(frozen=True)
class _Pair:
    """A model and its teacher, loaded."""

    models: Mapping[Text, Any]
    """By whose text it is."""
    stops: Mapping[Text, frozenset[int]]
    settings: FidelitySettings
    vocab_size: int

    @classmethod
    def load(cls, model: Measured, settings: FidelitySettings) -> "_Pair":
        from harness.generate import attention
        from harness.generate.prompts import stop_ids
        from harness.models.load import available, load_model, load_tokenizer

        assert model.teacher is not None, "the plan gives it"
        models: dict[Text, Any] = {}
        stops: dict[Text, frozenset[int]] = {}
        for text, folder in zip(TEXTS, (model.teacher, model.folder), strict=True):
            models[text] = load_model(folder, model.dtype, available())
            attention.use(models[text])
            stops[text] = stop_ids(load_tokenizer(folder), models[text].generation_config)
        return cls(models, stops, settings, len(load_tokenizer(model.folder)))

    def compare(self, items: Sequence[_Item], text: Text, tokenizer: Any, seed: int) -> list[float]:
        """Have one of the two answer; fill the items' values and texts, and return the KL at each token."""
        import torch

        from harness.generate.decoding import decode
        from harness.generate.prompts import answer_text

        rows = [self._row(item, seed) for item in items]
        with torch.inference_mode():
            decode(self.models[text], rows, self.stops[text])
            divergence, agrees, difference = self._read(rows)
        begin = 0
        for item, row in zip(items, rows, strict=True):
            here = slice(begin, begin := begin + len(row.tokens))
            item.values["kl", text] = float(divergence[here].mean())
            item.values["agreement", text] = 100 * float(agrees[here].mean())
            item.values["rms", text] = float(np.sqrt(np.square(difference[here]).mean()))
            item.texts[text] = answer_text(tokenizer, row.tokens, self.stops[text])
        return [float(value) for value in divergence]

    def _row(self, item: _Item, seed: int) -> "Row":
        from harness.generate.decoding import Row

        limit = min(self.settings.max_new_tokens, self.settings.max_length - len(item.ids))
        return Row(item.ids, limit, self.settings.temperature, derive_seed(seed, item.id))

    def _read(self, rows: "Sequence[Row]") -> tuple[Any, Any, Any]:
        """At each token of the answers, row after row: KL, agreement, difference of probabilities; float64 arrays."""
        import torch

        from harness.models.batching import padded
        from harness.models.load import output_head
        from harness.models.logprobs import DenseTarget
        from harness.models.token_losses import Terms, token_losses
        from harness.train.losses import IGNORED, response_states, response_tokens

        ids, mask = padded([[*row.ids, *row.tokens] for row in rows], 0)
        labels = padded([[IGNORED] * len(row.ids) + row.tokens for row in rows], IGNORED)[0]
        teacher, model = (self.models[text] for text in TEXTS)
        batch = {"input_ids": ids, "attention_mask": mask, "labels": labels}
        on_model, on_teacher = ({k: v.to(m.device) for k, v in batch.items()} for m in (model, teacher))
        states = response_states(model, on_model)
        target = DenseTarget(response_states(teacher, on_teacher), output_head(teacher))
        tokens, everywhere = response_tokens(on_model), torch.arange(len(states), device=states.device)
        terms = Terms(1.0, 1.0, vocab_size=self.vocab_size)
        losses = token_losses(states, output_head(model), tokens, [(everywhere, target)], terms)
        difference = (-losses.cross_entropy).exp() - losses.teacher_logprobs.exp()
        return tuple(values.double().cpu().numpy() for values in (losses.divergence, losses.agrees, difference))


def _items(
    one: HeldOutSet, files: Mapping[str, Sequence[Path]], tokenizer: Any, settings: FidelitySettings, seed: int
) -> tuple[list[_Item], dict[str, Json]]:
    """The prompts of a set, and the record of what was read."""
    from harness.data.readers import read_dataset
    from harness.models.chat import encode_prompt
    from harness.models.rendering import Refused

    data, items = read_dataset(one, seed, files), list[_Item]()
    for chat in data.conversations:
        asked = chat.messages[:-1] if chat.messages[-1]["role"] == "assistant" else chat.messages
        try:
            ids = encode_prompt(tokenizer, asked)
        except Refused:
            ids = []
        question = "\n\n".join(message["content"] for message in asked)
        items.append(_Item(chat.id, question, ids if len(ids) < settings.max_length else []))
    if not any(item.ids for item in items):
        raise HarnessError("no prompt of this held-out set can be answered", where=one.name, fix="Raise `max_length`.")
    return items, data.record


def _spread(values: Sequence[float]) -> dict[str, Json]:
    """Of the KL at all tokens of a set's texts, in nats."""
    middle, high = np.quantile(values, [0.5, 0.99])
    return {
        "tokens": len(values),
        "mean": float(np.mean(values)),
        "median": float(middle),
        "p99": float(high),
        "max": float(np.max(values)),
    }


def _rows(name: str, item: _Item) -> Iterator[Sample]:
    unit, own = f"{name}:{item.id}", item.texts.get("own_text", "")
    values: dict[str, float | None] = {
        f"{quantity}_{text}": item.values.get((quantity, text)) for quantity in _UNITS for text in TEXTS
    }
    values["exposure_bias"] = item.values["kl", "own_text"] - item.values["kl", "teacher_text"] if item.ids else None
    for metric, value in values.items():
        status: Literal["ok", "missing"] = "missing" if value is None else "ok"
        yield Sample(BENCHMARK.name, f"{name}_{metric}", unit, unit, name, 1, 0, value, status, len(own))


def _transcript(name: str, item: _Item) -> dict[str, str]:
    own, teachers = item.texts.get("own_text", ""), item.texts.get("teacher_text", "")
    return {"item": f"{name}:{item.id}", "question": item.question, "answer": own, "reference": teachers}


BENCHMARK = MeasuredBenchmark(
    "fidelity",
    1,
    FidelitySettings,
    lambda settings: input_files(settings.sets),
    Fidelity,
    teacher=lambda settings: settings.teacher,
)
