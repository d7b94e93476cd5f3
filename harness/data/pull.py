"""Fetch public data sets that the harness may not ship, and check that they are those it was tested with.

The check is on content (ids, categories, turns, prompts), not on bytes: key order and spacing do not matter.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from harness.core.canonical import Json, digest
from harness.core.errors import HarnessError

Record = Mapping[str, Json]


@dataclass(frozen=True)
class Part:
    """A file of a data set."""

    name: str
    url: str
    content: str
    """Digest of the records' values that matter."""
    matters: Callable[[Record], Json]


_FASTCHAT = "https://huggingface.co/spaces/lmsys/mt-bench/resolve/main/data/mt_bench"

SETS: dict[str, tuple[Part, ...]] = {
    "mt_bench": (
        Part(
            "question.jsonl",
            f"{_FASTCHAT}/question.jsonl",
            "35c5565a3b3f6c1bd6309992ad540de378401f3d2cfab38c9ac2eb09ba0d8747",
            lambda r: [r["question_id"], r["category"], r["turns"]],
        ),
        Part(
            "judge_prompts.jsonl",
            "https://raw.githubusercontent.com/lm-sys/FastChat/main/fastchat/llm_judge/data/judge_prompts.jsonl",
            "7fd7503c7cba970d4fa04c716a88fd7a36e24b49d6b09ff57b6e04dd6318f7f2",
            lambda r: [r["name"], r["system_prompt"], r["prompt_template"]],
        ),
        Part(
            "reference_answer/gpt-4.jsonl",
            f"{_FASTCHAT}/reference_answer/gpt-4.jsonl",
            "4d20749fc8627bd5329ac5cc1ec27f12106f74e89c721aaeaa8a8e16258eb201",
            lambda r: [r["question_id"], r["choices"][0]["turns"]],
        ),
    )
}


def pull(name: str, folder: Path) -> list[Path]:
    """Fetch a data set into `folder/name`; a file that exists with the tested content is not fetched again.

    Raises:
        HarnessError: unknown set, no network, or other content than the tested one.
    """
    if name not in SETS:
        raise HarnessError("unknown data set", where=name, fix=f"Known: {', '.join(sorted(SETS))}.")
    return [_part(part, folder / name / part.name) for part in SETS[name]]


def content_digest(part: Part, lines: Iterable[str]) -> str:
    """The digest of a file's lines, to compare with `Part.content`."""
    return digest(sorted((part.matters(json.loads(line)) for line in lines if line.strip()), key=str))


def _part(part: Part, target: Path) -> Path:
    if not (target.exists() and _right(part, target.read_bytes())):
        text = _fetch(part.url)
        if not _right(part, text):
            fault = "the content differs from what the harness was tested with"
            raise HarnessError(fault, where=part.url, fix="Nothing was written.")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text)
    return target


def _right(part: Part, content: bytes) -> bool:
    """Whether this is the tested content; false for content that cannot be read."""
    try:
        return content_digest(part, content.decode().split("\n")) == part.content
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        return False


def _fetch(url: str) -> bytes:
    try:
        reply = httpx.get(url, follow_redirects=True, timeout=60)
        return reply.raise_for_status().content
    except httpx.HTTPError as error:
        raise HarnessError(
            f"cannot fetch it ({type(error).__name__}: {error})",
            where=url,
            fix="Without a network: copy the file into the data folder by hand and name that folder in the recipe.",
        ) from None
