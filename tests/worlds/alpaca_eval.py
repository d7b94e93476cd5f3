"""A small AlpacaEval folder in the package's formats, with instructions, answers and verdicts of our own; and the
published one."""

import json
import lzma
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

PUBLISHED = Path(__file__).parents[2] / "../shared/data/alpaca_eval"
JUDGE = "weighted_alpaca_eval_gpt4_turbo"
BASELINES = ("gpt4_1106_preview", "text_davinci_003")
MODELS = ("kestrel", "linnet")
DATASETS = ("koala", "vicuna", "selfinstruct")
DRAWS = (7, 43)
"""Instructions which the first model answers word for word as the baseline does."""


@dataclass(frozen=True)
class World:
    """A folder of AlpacaEval's data."""

    data: Path
    generator: str
    """A model whose answers are in `outputs`."""
    annotations: Path
    """Verdicts with the judge's own replies, as the package writes them."""
    compact: Path
    """Verdicts on many models, with lengths in place of texts."""

    @property
    def instructions(self) -> Path:
        """The instructions."""
        return self.data / "instructions.parquet"

    @property
    def outputs(self) -> Path:
        """Answers of many models."""
        return self.data / "zoo/outputs.parquet"

    def answers(self, generator: str) -> list[str]:
        """A model's answers in the order of the instructions."""
        rows = pd.read_parquet(self.outputs)
        texts = rows[rows["generator"] == generator].set_index("index")["output"]
        return [str(texts[k]) for k in pd.read_parquet(self.instructions)["index"]]


def published() -> World:
    """The files that AlpacaEval's authors publish, in small."""
    names = ("vicuna-13b.annotations.json.xz", "gpt4_turbo_annotations_compact.parquet")
    return World(PUBLISHED, "vicuna-7b-v1.5", *(PUBLISHED / name for name in names))


def made_up(folder: Path, number: int = 80) -> World:
    """Write the folder."""
    (folder / "zoo").mkdir(parents=True)
    instructions = [{"index": k, "dataset": DATASETS[k % 3], "instruction": instruction(k)} for k in range(number)]
    pd.DataFrame(instructions).to_parquet(folder / "instructions.parquet")
    outputs = [
        {"index": k, "generator": name, "output": output(name, k)}
        for name in (*BASELINES, *MODELS)
        for k in range(number)
    ]
    pd.DataFrame(outputs).to_parquet(folder / "zoo/outputs.parquet")
    verdicts = {model: [annotation(model, k) for k in range(number)] for model in MODELS}
    (folder / "kestrel.annotations.json.xz").write_bytes(lzma.compress(json.dumps(verdicts["kestrel"]).encode()))
    compact = [_compact(row) for rows in verdicts.values() for row in rows]
    pd.DataFrame(compact).to_parquet(folder / "gpt4_turbo_annotations_compact.parquet")
    return World(
        folder, "kestrel", folder / "kestrel.annotations.json.xz", folder / "gpt4_turbo_annotations_compact.parquet"
    )


def instruction(k: int) -> str:
    """A made-up instruction."""
    return f"Explain the number {k}.\nSay “why”, in {{braces}}."


def output(generator: str, k: int) -> str:
    """A made-up answer; the models' are of other lengths than the baselines'."""
    if generator == MODELS[0] and k in DRAWS:
        generator = BASELINES[0]
    length = random.Random(f"length of {generator} {k}").random()
    return f"{generator} on {k}: " + "because é " * int(4 + 90 * length)


def annotation(model: str, k: int) -> dict[str, Any]:
    """A verdict of the made-up judge on a model's answer, as the package writes it.

    A judge sees the answers in an order that the package draws with the instruction as seed, and says `m` for the first
    and `M` for the second; the preference is 1 where `output_1` is better for certain, 2 where `output_2` is.
    """
    texts = output(BASELINES[0], k), output(model, k)
    row = {"instruction": instruction(k), "dataset": DATASETS[k % 3], "annotator": JUDGE}
    row |= {f"output_{n}": text for n, text in enumerate(texts, 1)}
    row |= {"generator_1": BASELINES[0], "generator_2": model}
    if texts[0] == texts[1]:
        return row | {"preference": 1.5, "raw_completion": None}
    likeliest = _likeliest(model, k, longer=len(texts[1]) > len(texts[0]))
    first = math.exp(likeliest["m"]) / (math.exp(likeliest["m"]) + math.exp(likeliest["M"]))
    switched = _switched(instruction(k))
    return row | {"preference": 1 + first if switched else 2 - first, "raw_completion": _completion(likeliest)}


def _switched(text: str) -> bool:
    """Whether the package shows `output_2` first."""
    return random.Random(f"is_switched_outputs{text}0").choices([False, True])[0]


def _likeliest(model: str, k: int, *, longer: bool) -> dict[str, float]:
    """Log-probabilities: the longer answer wins somewhat more often, and linnet more often than kestrel."""
    odds = random.Random(f"odds of {model} {k}").gauss(0.8 * longer + 0.4 * (model == MODELS[1]) - 0.9, 2)
    first = odds if _switched(instruction(k)) else -odds
    return {"m": -math.log1p(math.exp(-first)), "M": -math.log1p(math.exp(first)), "Both": -14.5, "The": -15.25}


def _completion(likeliest: dict[str, float]) -> dict[str, Any]:
    ordered = sorted(likeliest.items(), key=lambda pair: -pair[1])
    tops = [{"token": t, "bytes": list(t.encode()), "logprob": p} for t, p in ordered]
    said = {key: tops[0][key] for key in ("token", "bytes", "logprob")}
    message = {"content": said["token"], "role": "assistant"}
    content = [said | {"top_logprobs": tops}]
    return {"finish_reason": "length", "index": 0, "logprobs": {"content": content}, "message": message}


def _compact(row: dict[str, Any]) -> dict[str, Any]:
    k = int(row["instruction"].split()[3].rstrip("."))
    lengths = {f"len_{n}": len(row[f"output_{n}"]) for n in (1, 2)}
    return {"index": k, "model": row["generator_2"], "preference": row["preference"], **lengths}


def annotated(world: World) -> list[dict[str, Any]]:
    """The verdicts with the judge's replies."""
    rows: list[dict[str, Any]] = json.loads(lzma.decompress(world.annotations.read_bytes()))
    return rows


def tokens(row: dict[str, Any]) -> dict[str, float]:
    """The judge's likeliest first tokens of a verdict, and their log-probabilities."""
    tops: Sequence[dict[str, Any]] = row["raw_completion"]["logprobs"]["content"][0]["top_logprobs"]
    return {top["token"]: top["logprob"] for top in tops}
