"""A recipe of about a minute that goes through every kind of work, and the judge that its endpoint benchmark asks."""

import asyncio
import hashlib
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.cli import judged
from tests.judge.stand_in import Answer, reply

CONCURRENCY = 2
"""Judge calls of one stage under way at the same time."""
TRAINER = """\
import shutil, sys, time
student, out = sys.argv[1:]
time.sleep(1)
shutil.copytree(student, out)
"""
RECIPE = """\
name: durable
models:
  strong:
    base: pocket:llama?layers=2&width=48&seed=1
    data: {{train: {{pocket: {{examples: 2000, domain_ratio: 0.4, seed: 1}}}}}}
    train: [{{sft: {{max_steps: 160, batch_size: 32, micro_batch_size: 32, learning_rate: 4e-3, save_every: 8}}}}]
  weak:
    base: pocket:llama?layers=2&width=48&seed=2
    data: {{train: {{pocket: {{examples: 1000, domain_ratio: 0.4, noise: 0.2, seed: 2}}}}}}
    train: [{{sft: {{max_steps: 120, batch_size: 32, micro_batch_size: 32, learning_rate: 4e-3, save_every: 8}}}}]
student: pocket:llama?layers=2&width=32&seed=3
teacher: {{model: $teacher, responses: {{max_new_tokens: 8}}}}
data: {{train: {{pocket: {{examples: 200, domain_ratio: 0.5, seed: 4}}}}}}
train: [$method]
axes:
  teacher: [{{strong: artifact:strong}}, {{weak: artifact:weak}}]
  method:
    - sft: {{sft: {{data: teacher, max_steps: 60, batch_size: 16, micro_batch_size: 16, save_every: 6}}}}
    - live: {{kd: {{max_steps: 60, batch_size: 16, micro_batch_size: 16, save_every: 6}}}}
    - cached: {{kd: {{targets: cached, max_steps: 60, batch_size: 16, micro_batch_size: 16, save_every: 6}}}}
    - command: {{command: {{run: "python {trainer} {{student}} {{out}}", files: [{trainer}]}}}}
baselines: [student, teacher]
evaluate:
  - mt_bench: {{data: {data}, max_new_tokens: 12}}
  - pocket: {{questions: 48}}
  - nll: {{sets: {{shop: {{pocket: {{examples: 60, domain_ratio: 1.0, seed: 9}}, role: domain}}}}}}
judge: {{model: gpt-4, base_url: "{url}", api_key_env: TEST_JUDGE_KEY, concurrency: {concurrency}, retries: 0}}
"""


def write(folder: Path, url: str) -> Path:
    """The recipe and what it reads, in a folder."""
    data, trainer, recipe = folder / "mt_bench", folder / "trainer.py", folder / "durable.yaml"
    judged.write_benchmark(data)
    trainer.write_text(TRAINER)
    recipe.write_text(RECIPE.format(data=data, trainer=trainer, url=url, concurrency=CONCURRENCY))
    return recipe


def rating(seconds: float) -> Answer:
    """A judge that takes its time and says of one question always the same; of some, nothing that is a rating."""

    async def say(body: dict[str, Any]) -> web.Response:
        await asyncio.sleep(seconds)
        number = hashlib.sha256(body["messages"][-1]["content"].encode()).digest()[0]
        return reply("No." if number % 16 == 0 else f"Rating: [[{number % 10 + 1}]]")

    return lambda body, _n: say(body)
