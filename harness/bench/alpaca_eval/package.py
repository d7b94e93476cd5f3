"""What we have the `alpaca_eval` package do, in a child process (see `_alpaca_child` for why)."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from harness.core.canonical import Json
from harness.core.errors import HarnessError

Pair = Mapping[str, str]
"""{instruction, output_1, output_2}; output_1 is the baseline's."""
Reply = str | Mapping[str, float] | None
"""A judge's text, or its likeliest tokens with their log-probabilities; None where it gave none."""


@dataclass(frozen=True)
class Shown:
    """What a judge is shown of a pair."""

    messages: tuple[Mapping[str, str], ...]
    switched: bool
    """The second output is shown first."""


def package_file(name: str) -> Path:
    """A file of the installed package.

    Raises:
        HarnessError: the package is not installed.
    """
    spec = find_spec("alpaca_eval")  # finds it without importing it
    if spec is None or spec.origin is None:
        raise HarnessError(
            "the package alpaca-eval is not installed",
            where="alpaca_eval",
            fix="pip install 'harness[alpaca]'",
        )
    return Path(spec.origin).parent / name


def prepare(annotator: str, pairs: Sequence[Pair]) -> list[Shown]:
    """The messages and the order for each pair, as the package's annotator makes them."""
    if not pairs:
        return []
    rows = _call({"do": "prepare", "annotator": annotator, "pairs": list(pairs)})
    return [Shown(tuple(row["messages"]), row["switched"]) for row in rows]


def annotate(annotator: str, pairs: Sequence[Pair], replies: Sequence[Reply]) -> list[float | None]:
    """The package's reading of the replies: a preference (1..2, 2: output_2 is better) per pair, None for a failure."""
    request = {"do": "annotate", "annotator": annotator, "pairs": list(pairs), "replies": list(replies)}
    preferences: list[float | None] = _call(request)
    return preferences


def metrics(annotations: Sequence[Mapping[str, Json]], reference: Path) -> dict[str, float]:
    """The package's own win rates of annotations in its format, with `reference` as its df_gamed.csv."""
    request = {"do": "metrics", "annotations": list(annotations), "reference": str(reference.resolve())}
    found: dict[str, float] = _call(request)
    return found


def _call(request: Json) -> Json:
    package_file("")
    command = [sys.executable, "-m", "harness.bench.alpaca_eval.package_child"]
    done = subprocess.run(command, input=json.dumps(request), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"alpaca_eval failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)
