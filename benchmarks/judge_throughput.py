"""Verdicts per second from a server that takes half a second for each: our client beside alpaca_eval's own.

    python benchmarks/judge_throughput.py

1,000 verdicts at 64 at a time, so at best 1000 / 64 * 0.5 = 7.8 s. Client and server run in processes of their own,
each try in a fresh one; the two clients take turns, medians of 3. Ours records every verdict in its ledger, synced to
disk, before it takes the next question; alpaca_eval keeps them in memory. Then our client's peak memory over more
verdicts. Writes results/reference/judge/throughput.md and .csv.
"""

import argparse
import asyncio
import csv
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve()
RESULTS = HERE.parents[1] / "results" / "reference" / "judge"
CONCURRENCY, LATENCY_S, VERDICTS, REPEATS = 64, 0.5, 1000, 3
MORE = (200, 1000, 3000)
PROMPT = "[Question]\n{}\n[The Start of the Assistant's Answer]\n" + "A sentence of an answer to judge. " * 100
REPLY = "A sentence that explains the verdict. " * 25 + "Rating: [[7]]"


def serve() -> None:
    """An OpenAI-compatible endpoint that answers after LATENCY_S; prints its port."""
    from aiohttp import web

    message = {"role": "assistant", "content": REPLY}
    body = {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 900, "completion_tokens": 200, "total_tokens": 1100},
    }

    async def chat(request: web.Request) -> web.Response:
        clock = time.monotonic()
        await request.json()
        await asyncio.sleep(LATENCY_S - (time.monotonic() - clock))
        return web.json_response(body)

    async def run() -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", chat)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        print(runner.addresses[0][1], flush=True)
        await asyncio.Event().wait()

    asyncio.run(run())


@contextmanager
def server() -> Iterator[str]:
    """The endpoint's URL, served by another process."""
    command = [sys.executable, str(HERE), "--serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None, "opened as a pipe"
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        finally:
            process.kill()


def ours(url: str, count: int) -> float:
    """Seconds for `count` verdicts into a new ledger."""
    from harness.judge.api import JudgeTask
    from harness.judge.client import ask
    from harness.judge.protocol import find_protocol
    from harness.judge.settings import JudgeSettings
    from harness.store.ledger import Ledger

    tasks = [JudgeTask(str(k), 1, "p", ({"role": "user", "content": PROMPT.format(k)},)) for k in range(count)]
    settings = JudgeSettings(model="gpt-4", base_url=url, concurrency=CONCURRENCY)
    protocol = find_protocol("rating", "text")
    with tempfile.TemporaryDirectory(dir=RESULTS) as folder, Ledger(Path(folder) / "ledger.sqlite") as ledger:
        clock = time.perf_counter()
        found = asyncio.run(
            ask(tasks, settings, protocol, judge_digest="d", ledger=ledger, progress=lambda *_, **__: None)
        )
        seconds = time.perf_counter() - clock
    assert [v.reply.value for v in found] == [7.0] * count, "every verdict came"
    return seconds


def theirs(url: str, count: int) -> float:
    """Seconds for `count` completions with alpaca_eval's client."""
    os.environ.update(OPENAI_BASE_URL=url, OPENAI_API_KEY="none")
    from alpaca_eval.decoders.openai import openai_completions

    prompts = [f"<|im_start|>user\n{PROMPT.format(k)}\n<|im_end|>" for k in range(count)]
    clock = time.perf_counter()
    found = openai_completions(prompts, "gpt-4", max_tokens=2048, num_procs=CONCURRENCY, requires_chatml=True)
    seconds = time.perf_counter() - clock
    assert found["completions"] == [REPLY] * count, "every completion came"
    return seconds


def measure(client: str, url: str, count: int) -> tuple[float, float]:
    """Seconds and peak memory (MiB) of one client in a process of its own."""
    command = [sys.executable, str(HERE), "--client", client, "--url", url, "--count", str(count)]
    environment = {**os.environ, "OPENAI_API_KEY": "none", "PYTHONPATH": str(HERE.parents[1])}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    seconds, memory = json.loads(done.stdout.splitlines()[-1])
    return float(seconds), float(memory)


def compare() -> None:
    """Measure, print and write the tables."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    load = os.getloadavg()[0]
    rows: list[dict[str, str | int | float]] = []
    with server() as url:
        for number in range(REPEATS):
            for client in ("ours", "alpaca_eval") if number % 2 == 0 else ("alpaca_eval", "ours"):
                seconds, memory = measure(client, url, VERDICTS)
                rows.append(_row(client, VERDICTS, number, seconds, memory))
        rows += [_row("ours, memory", count, 0, *measure("ours", url, count)) for count in MORE]
    with (RESULTS / "throughput.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    (RESULTS / "throughput.md").write_text(_page(rows, load), encoding="utf-8")
    print(_page(rows, load))


def _row(client: str, count: int, number: int, seconds: float, memory: float) -> dict[str, str | int | float]:
    """One try: seconds, verdicts per second, share of the best that is possible, peak memory in MiB."""
    ideal = count / CONCURRENCY * LATENCY_S
    row: dict[str, str | int | float] = {"client": client, "verdicts": count, "repeat": number}
    return row | {
        "seconds": round(seconds, 3),
        "per_second": round(count / seconds, 1),
        "of_ideal": round(ideal / seconds, 4),
        "peak_mib": round(memory, 1),
    }


def _page(rows: list[dict[str, str | int | float]], load: float) -> str:
    """Both tables as Markdown; `load` is the machine's before we began, since a busy one is slower."""
    ideal = VERDICTS / CONCURRENCY * LATENCY_S
    versions = ", ".join(f"{name} {version(name)}" for name in ("openai", "alpaca_eval", "aiohttp"))
    lines = [
        "# Judge throughput",
        "",
        f"`python benchmarks/judge_throughput.py`, {datetime.now(UTC):%Y-%m-%d}; Python {platform.python_version()}, "
        f"{versions}; {os.cpu_count()} cores, load average {load:.1f} before it began.",
        "",
        f"{VERDICTS:,} verdicts from a local server that takes {LATENCY_S} s for each, {CONCURRENCY} at a time: "
        f"at best {ideal:.1f} s. Medians of {REPEATS} tries in processes of their own, the clients in turn. Ours "
        "has every verdict in the ledger, synced to disk; the other keeps them in memory.",
        "",
        "| client | seconds | range | verdicts/s | of the best possible | peak memory, MiB |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for client in ("ours", "alpaca_eval"):
        own = [row for row in rows if row["client"] == client]
        seconds = sorted(float(row["seconds"]) for row in own)
        middle, memory = statistics.median(seconds), statistics.median(float(row["peak_mib"]) for row in own)
        lines.append(
            f"| {client} | {middle:.2f} | {seconds[0]:.2f}-{seconds[-1]:.2f} | {VERDICTS / middle:.0f} "
            f"| {ideal / middle:.1%} | {memory:.0f} |"
        )
    lines += ["", "Our client's peak memory by the number of verdicts:", "", "| verdicts | seconds | peak, MiB |"]
    lines += ["|---:|---:|---:|"]
    lines += [f"| {r['verdicts']:,} | {r['seconds']} | {r['peak_mib']} |" for r in rows if "memory" in str(r["client"])]
    return "\n".join(lines) + "\n"


def main() -> None:
    """The comparison; or, in its other processes, the server or one client."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--client", choices=("ours", "alpaca_eval"), help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve()
    elif given.client:
        import resource

        seconds = {"ours": ours, "alpaca_eval": theirs}[given.client](given.url, given.count)
        print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
    else:
        compare()


if __name__ == "__main__":
    main()
