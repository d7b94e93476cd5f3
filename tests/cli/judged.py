"""A judged recipe in small: an MT-Bench folder of our own, an untrained student, a stand-in for the judge."""

import asyncio
import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeVar

from tests.cli.command import harness
from tests.judge.stand_in import CANARY, Judge, standing_in

T = TypeVar("T")
KEY = "TEST_JUDGE_KEY"
FIRST, SECOND = "Q: {question}\nA: {answer}", "Q: {question_1}\nA: {answer_1}\nQ: {question_2}\nA: {answer_2}"
PROMPTS = {
    "single-v1": FIRST,
    "single-math-v1": FIRST + "\nR: {ref_answer_1}",
    "single-v1-multi-turn": SECOND,
    "single-math-v1-multi-turn": SECOND + "\nR: {ref_answer_1} {ref_answer_2}",
}
QUESTIONS = (
    (81, "writing", ["Name a colour.", "Name another."]),
    (82, "writing", ["Write a word.", "Write it backwards."]),
    (111, "math", ["What is 1 + 1?", "And twice that?"]),
    (131, "extraction", ["Which is the number: a 7 b?", "Add 1."]),
    (141, "stem", ["What is ice?", "And steam?"]),
)
TURNS = sum(len(turns) for _, _, turns in QUESTIONS)
RECIPE = """\
name: judged
student: pocket:llama?layers=1&width=16&heads=2&seed=1
evaluate: [{{mt_bench: {{data: {data}, max_new_tokens: 4}}}}]
judge:
  model: gpt-4
  base_url: {url}
  api_key_env: TEST_JUDGE_KEY
  concurrency: 1
  retries: 0
"""


def write_benchmark(folder: Path) -> Path:
    """FastChat's files with questions and prompts of our own."""
    (folder / "reference_answer").mkdir(parents=True)
    _lines(folder / "question.jsonl", *({"question_id": i, "category": c, "turns": t} for i, c, t in QUESTIONS))
    prompts = ({"name": n, "system_prompt": "Rate it.", "prompt_template": t} for n, t in PROMPTS.items())
    _lines(folder / "judge_prompts.jsonl", *prompts)
    reference = {"question_id": 111, "choices": [{"index": 0, "turns": ["2", "4"]}]}
    _lines(folder / "reference_answer/gpt-4.jsonl", reference)
    return folder


def _lines(path: Path, *records: object) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def words(folder: Path, url: str, *more: str) -> list[str]:
    """What to tell `harness` so that it runs the recipe, whose files are written where they are not there yet."""
    data = folder / "mt_bench"
    if not data.exists():
        write_benchmark(data)
    recipe = folder / "judged.yaml"
    recipe.write_text(RECIPE.format(data=data, url=url))
    return ["run", str(recipe), "--results", str(folder / "results"), *more]


def run(folder: Path, url: str, *more: str) -> "subprocess.CompletedProcess[str]":
    """Run it with a key that must be found nowhere afterwards."""
    return harness(*words(folder, url, *more), env={KEY: CANARY})


def judge(ledger: Path, port: int = 0) -> AbstractContextManager[Judge]:
    """The stand-in in a thread with a loop of its own, which ends with the block."""
    return in_thread(standing_in(ledger, port))


@contextmanager
def in_thread(standing: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """A stand-in in a thread with a loop of its own, which ends with the block."""
    loop, ready, over = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    held: list[T] = []

    async def serve() -> None:
        async with standing as stand_in:
            held.append(stand_in)
            ready.set()
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    assert ready.wait(30), "the stand-in does not start"
    try:
        yield held[0]
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(30)
        loop.close()
