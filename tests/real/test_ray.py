"""`harness run --executor ray` on a real cluster: two nodes' worth of Ray's own processes, of one core each."""

import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.cli import recipes
from tests.cli.command import HARNESS, executed

pytest.importorskip("ray", reason="needs harness[ray]")
pytestmark = pytest.mark.slow

LONG = recipes.TINY.replace("max_steps: 3", "max_steps: 1500")
"""Trainings of some ten seconds."""


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "240")  # of a busy machine
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield made
    made.shutdown()  # type: ignore[no-untyped-call]


def harness(*words: object) -> "subprocess.CompletedProcess[str]":
    """In a process of its own: Ray lets one connect once."""
    return subprocess.run([*HARNESS, *map(str, words)], capture_output=True, text=True, timeout=500)


@pytest.fixture
def start(tmp_path: Path, cluster: Any) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts `harness run` on the cluster; its output goes to `log`."""
    begun: list[subprocess.Popen[str]] = []

    def _start(recipe: Path) -> "subprocess.Popen[str]":
        words = ["run", recipe, "--results", tmp_path / "results", "--executor", "ray", "--address", cluster.address]
        with (tmp_path / "log").open("a") as log:
            begun.append(subprocess.Popen([*HARNESS, *map(str, words)], stderr=log, text=True))
        return begun[-1]

    yield _start
    for process in begun:
        process.kill()
        process.wait()


def until(true: Callable[[], bool], seconds: float = 180.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited for too long"
        time.sleep(0.2)


def records(results: Path) -> list[dict[str, Any]]:
    return [json.loads(p.read_text())["provenance"] for p in results.glob("store/artifacts/*/artifact.json")]


def most_at_once(results: Path) -> int:
    """Of trainings, by the times in their records; these are whole seconds, so each is known to run a second later."""
    spans = []
    for record in records(results):
        if record["title"].startswith(("sft method", "kd method")):
            begin = datetime.fromisoformat(record["started"])
            spans.append((begin + timedelta(seconds=1), begin + timedelta(seconds=record["seconds"])))
    return max(sum(b <= begin < e for b, e in spans) for begin, _ in spans)


def test_two_nodes_make_what_one_machine_makes(cluster: Any, tmp_path: Path) -> None:
    cluster.add_node(num_cpus=1)
    recipe = recipes.write(tmp_path, LONG)
    words = ("--executor", "ray", "--address", cluster.address, "--results", tmp_path / "results")
    away = harness("run", recipe, *words)
    assert away.returncode == 0, away.stderr
    here = harness("run", recipe, "--jobs", "2", "--results", tmp_path / "here")
    assert here.returncode == 0, here.stderr
    scores = [(tmp_path / where / "runs/tiny/scores.csv").read_bytes() for where in ("results", "here")]
    assert scores[0] == scores[1]
    assert executed(away) == executed(here)
    assert most_at_once(tmp_path / "results") == 2, "a node has one core, so two at once are two nodes"
    assert {record["threads"] for record in records(tmp_path / "results") if record["threads"]} == {1}


def test_a_lost_node_is_retried(cluster: Any, start: Callable[..., "subprocess.Popen[str]"], tmp_path: Path) -> None:
    node = cluster.add_node(num_cpus=1)
    run = start(recipes.write(tmp_path, LONG))
    log = tmp_path / "log"
    until(lambda: log.read_text().count("start sft method") + log.read_text().count("start kd method") >= 2)
    cluster.remove_node(node, allow_graceful=False)
    assert run.wait(timeout=500) == 0, log.read_text()
    assert "lost with its node or process" in log.read_text()
    assert (tmp_path / "results/runs/tiny/report.html").exists()


def test_cancelled_and_gone_on_with(
    cluster: Any, start: Callable[..., "subprocess.Popen[str]"], tmp_path: Path
) -> None:
    recipe = recipes.write(tmp_path, LONG)
    run = start(recipe)
    log = tmp_path / "log"
    until(lambda: "start sft method" in log.read_text() or "start kd method" in log.read_text())
    assert workers()
    run.send_signal(signal.SIGINT)
    assert run.wait(timeout=60) == 130
    until(lambda: not workers(), 30)
    done = len(records(tmp_path / "results"))
    again = harness("run", recipe, "--results", tmp_path / "results")
    assert again.returncode == 0, again.stderr
    assert executed(again) == len(records(tmp_path / "results")) - done, "what was finished is not made again"


def workers() -> list[psutil.Process]:
    """Processes in which stages run, below those of Ray."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if "RAY_RAYLET_PID" in process.environ() and any("forkserver" in word for word in process.cmdline()):
                found.append(process)
    return found


def test_no_cluster_is_one_message(tmp_path: Path) -> None:
    words = ("--executor", "ray", "--address", "127.0.0.1:1", "--results", tmp_path / "results")
    done = harness("run", recipes.write(tmp_path), *words)
    assert done.returncode == 1
    assert "no Ray cluster answers" in done.stderr
    assert "ray start --head" in done.stderr
    assert "Traceback" not in done.stderr


def test_more_cores_than_a_node_has(cluster: Any, tmp_path: Path) -> None:
    words = ("--executor", "ray", "--address", cluster.address, "--cores", "3", "--results", tmp_path / "results")
    done = harness("run", recipes.write(tmp_path), *words)
    assert done.returncode == 1
    assert "no node has 3 cores: the largest has 1" in done.stderr


def test_without_an_address_a_cluster_is_started_here(tmp_path: Path) -> None:
    done = harness("run", recipes.write(tmp_path), "--executor", "ray", "--results", tmp_path / "results")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "results/runs/tiny/report.html").exists()
