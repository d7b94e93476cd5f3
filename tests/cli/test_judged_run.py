"""`harness run` on a judged benchmark, against a stand-in for the judge's endpoint: good days, bad days, kills."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pandas as pd
import pytest
from aiohttp import web

from harness.run.status import possibly_paid_twice
from harness.store.ledger import Ledger
from harness.store.store import Store
from tests.cli import judged
from tests.cli.command import HARNESS, harness
from tests.cli.judged import TURNS
from tests.judge import batch_stand_in
from tests.judge.stand_in import CANARY, Answer, Cut, Judge, completion, fault, models, reply

GOOD = 3
"""How many verdicts a judge gives before its bad day begins."""


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose answers are there and whose judge never was: nobody listens on its port."""
    folder = tmp_path_factory.mktemp("judged")
    done = judged.run(folder, "http://127.0.0.1:9/v1")
    assert done.returncode == 1, done.stderr
    assert "unreachable" in done.stderr
    assert "Traceback" not in done.stderr
    return folder


@pytest.fixture
def folder(answered: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of that run; at the end no file under it holds the judge's key."""
    copy = tmp_path / "run"
    shutil.copytree(answered, copy)
    yield copy
    for path in copy.rglob("*"):
        assert not path.is_file() or CANARY.encode() not in path.read_bytes(), f"the key is in {path}"


@pytest.fixture
def judge(tmp_path: Path) -> Iterator[Judge]:
    with judged.judge(tmp_path / "unused.sqlite") as stand_in:
        yield stand_in


def scores(folder: Path) -> dict[str, list[float]]:
    """Category -> value, n, total."""
    table = pd.read_parquet(folder / "results/runs/judged/scores.parquet")
    rows = zip(*(table[c] for c in ("category", "value", "n", "total")), strict=True)
    return {category: list(rest) for category, *rest in rows}


def recorded(folder: Path) -> int:
    with Ledger(folder / "results/store/ledger.sqlite") as ledger:
        return sum(cost.calls for cost in ledger.costs())


def test_a_good_run_gives_scores_and_files_that_fastchat_reads(folder: Path, judge: Judge) -> None:
    judge.answer = lambda body, _: reply(f"Fine. Rating: [[{body['messages'][-1]['content'].count('Q: ') + 4}]]")
    done = judged.run(folder, judge.url)
    assert done.returncode == 0, done.stderr
    assert judge.keys == {f"Bearer {CANARY}"}, "the key came out of the environment"
    assert len(judge.asked) == TURNS
    table = scores(folder)
    assert table["overall"] == [5.5, TURNS, TURNS]
    assert (table["turn_1"][0], table["turn_2"][0]) == (5.0, 6.0)

    from fastchat.llm_judge.common import load_model_answers, load_single_model_judgments

    files = folder / "results/runs/judged/mt_bench"
    answers = load_model_answers(str(files / "model_answer"))
    assert set(answers["cell"]) == {i for i, _, _ in judged.QUESTIONS}
    assert all(len(a["choices"][0]["turns"]) == 2 for a in answers["cell"].values())
    theirs = load_single_model_judgments(str(files / "model_judgment/gpt-4_single.jsonl"))
    assert {prompt for _, prompt in theirs} == set(judged.PROMPTS)
    ratings = [row["score"] for rows in theirs.values() for row in rows.values()]
    assert sorted(ratings) == [5] * 5 + [6] * 5


def timed_out(_: Judge) -> Answer:
    async def late() -> web.Response:
        await asyncio.Event().wait()
        return reply("Rating: [[7]]")

    return lambda _body, _n: late()


def gone(judge: Judge) -> Answer:
    async def last() -> web.Response:
        await judge.hang_up()
        response = fault(503, "going down")
        response.force_close()
        return response

    return lambda _body, _n: last()


FAULTS: dict[str, tuple[Callable[[Judge], Answer], str, str]] = {
    "500": (lambda _: lambda _body, _n: fault(500, "oops"), "HTTP 500: oops", "Run again when the judge is back"),
    "refused": (gone, "unreachable", "Run again when the judge is back"),
    "401": (lambda _: lambda _body, _n: fault(401, f"bad key {CANARY}"), "refuses the key (HTTP 401)", judged.KEY),
    "429": (lambda _: lambda _body, _n: fault(429, "slow down"), "HTTP 429: slow down", "Run again"),
    "quota": (
        lambda _: lambda _body, _n: fault(429, "pay", "insufficient_quota"),
        "no quota left",
        "Run again when there is quota",
    ),
    "time-out": (timed_out, "no answer within 2 s", "Run again when the judge is back"),
    "empty": (lambda _: lambda _body, _n: completion([]), "the reply is empty (no choices)", "Run again"),
    "echo": (lambda _: lambda _body, _n: fault(500, f"failed for {CANARY}"), "failed for [key]", "Run again"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_judge_that_fails_midway(folder: Path, tmp_path: Path, name: str) -> None:
    """What, where and what to do are said; the next run asks only what is not recorded."""
    make, what, fix = FAULTS[name]
    more = ["--set", "judge.timeout_s=2"]
    if name == "refused":
        more += ["--set", "judge.retries=1"]  # the second try finds nobody
    with judged.judge(tmp_path / "a.sqlite") as judge:
        bad = make(judge)
        judge.answer = lambda body, n: reply("Rating: [[7]]") if n < GOOD else bad(body, n)
        done = judged.run(folder, judge.url, *more)
        assert done.returncode == 1, done.stderr
        for words in (what, fix, judge.url, "verdicts of cell", "1 stage(s) failed"):
            assert words in done.stderr
        assert "Traceback" not in done.stderr
        assert recorded(folder) == GOOD
        first = judge.prompts()[:GOOD]
    with judged.judge(tmp_path / "b.sqlite", port=urlsplit(judge.url).port or 0) as healed:
        done = judged.run(folder, judge.url, *more)
        assert done.returncode == 0, done.stderr
        assert len(healed.asked) == TURNS - GOOD
        assert not set(first) & set(healed.prompts())
    assert scores(folder)["overall"] == [7.0, TURNS, TURNS]


@pytest.mark.parametrize(
    ("listed", "what"),
    [
        (lambda _: models("gpt-4", shutdown_date="2026-10-23"), "the judge gpt-4 was shut down on 2026-10-23"),
        (lambda _: fault(401, f"bad key {CANARY}"), "the judge refuses the key (HTTP 401)"),
        (
            lambda path: fault(404) if path else models("gpt-6"),
            "the endpoint does not list the judge gpt-4\n  It lists",
        ),
    ],
)
def test_a_judge_that_cannot_be_asked_stops_a_run_before_it_begins(
    tmp_path: Path, judge: Judge, listed: Callable[[str], web.Response], what: str
) -> None:
    """`plan` says it too, and is no failure."""
    judge.listed = listed
    done = judged.run(tmp_path, judge.url)
    assert done.returncode == 1
    assert f"{judge.url}: {what}" in done.stderr
    assert CANARY not in done.stderr
    assert len(done.stderr.splitlines()) == 2, "what and where, and the remedy"
    assert not list((tmp_path / "results/store/artifacts").iterdir())
    plan = harness("plan", *judged.words(tmp_path, judge.url)[1:], env={judged.KEY: CANARY})
    assert plan.returncode == 0
    assert f"a run stops: {judge.url}: {what}" in plan.stderr
    assert judge.asked == []


def test_a_judge_whose_verdicts_are_all_recorded_is_not_looked_for(folder: Path, judge: Judge) -> None:
    assert judged.run(folder, judge.url).returncode == 0
    artifacts = folder / "results/store/artifacts"
    for file in [*artifacts.glob("*/verdicts.jsonl"), *artifacts.glob("*/scores.parquet")]:
        shutil.rmtree(file.parent)
    judge.listed = lambda _: models("gpt-4", shutdown_date="2026-10-23")
    done = judged.run(folder, judge.url)
    assert done.returncode == 0, done.stderr
    assert "executed 2 of" in done.stderr
    assert len(judge.asked) == TURNS


def test_a_reply_without_a_rating_is_a_failed_sample_and_no_failed_run(folder: Path, judge: Judge) -> None:
    judge.answer = lambda _, n: reply("I would rather not say." if n == 4 else "Rating: [[8]]")
    done = judged.run(folder, judge.url)
    assert done.returncode == 0, done.stderr
    assert scores(folder)["overall"] == [8.0, TURNS - 1, TURNS]
    run = folder / "results/runs/judged"
    samples = pd.read_parquet(run / "samples.parquet")
    failed = samples[samples["status"] == "unparseable"]
    assert len(failed) == 1
    assert failed["value"].isna().all()
    assert f"{TURNS - 1}/{TURNS}" in (run / "report.md").read_text(), "the report marks the coverage"
    assert f"1 of {TURNS} verdicts failed" in (run / "report.md").read_text(), "and says why"
    asked = len(judge.asked)
    assert judged.run(folder, judge.url).returncode == 0
    assert len(judge.asked) == asked, "it was an answer: it is final"


def test_killed_while_the_judge_is_slow(folder: Path, judge: Judge) -> None:
    """kill -9 of the run with all its processes: no recorded verdict is asked again."""
    slow, waiting = timed_out(judge), threading.Event()

    def answer(body: dict[str, Any], n: int) -> web.Response | Cut | Awaitable[web.Response]:
        if n < GOOD:
            return reply("Rating: [[7]]")
        waiting.set()
        return slow(body, n)

    judge.answer = answer
    command = [*HARNESS, *judged.words(folder, judge.url)]
    environment = {**os.environ, judged.KEY: CANARY}
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True, env=environment)
    assert waiting.wait(120), "the judge was not asked"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    first = judge.prompts()
    assert len(first) == GOOD + 1
    assert recorded(folder) == GOOD
    line = possibly_paid_twice(Store(folder / "results/store"))
    assert line.startswith("1 judge call(s) were under way when a run was killed")
    judge.asked.clear()
    judge.answer = lambda _body, _n: reply("Rating: [[7]]")
    done = judged.run(folder, judge.url)
    assert done.returncode == 0, done.stderr
    assert len(judge.asked) == TURNS - GOOD
    assert not set(first[:GOOD]) & set(judge.prompts())


def test_rejudge_asks_everything_again_once(folder: Path, judge: Judge) -> None:
    assert judged.run(folder, judge.url).returncode == 0
    judge.answer = lambda _body, _n: reply("Rating: [[3]]")
    assert judged.run(folder, judge.url).returncode == 0
    assert len(judge.asked) == TURNS, "the second run asked nothing"
    done = judged.run(folder, judge.url, "--rejudge")
    assert done.returncode == 0, done.stderr
    assert len(judge.asked) == 2 * TURNS
    assert scores(folder)["overall"][0] == 3.0
    done = judged.run(folder, judge.url)
    assert done.returncode == 0, done.stderr
    assert len(judge.asked) == 2 * TURNS
    assert "executed 0 of" in done.stderr
    assert scores(folder)["overall"][0] == 3.0


def test_a_server_of_ones_own_needs_no_key(folder: Path, judge: Judge) -> None:
    done = harness(*judged.words(folder, judge.url))
    assert done.returncode == 0, done.stderr
    assert judge.keys == {"Bearer none"}


def test_a_broken_question_line_is_named(folder: Path, judge: Judge) -> None:
    command = judged.words(folder, judge.url)
    with (folder / "mt_bench/question.jsonl").open("a") as file:
        file.write('{"question_id": 999, "turns": [\n')
    done = harness(*command)
    assert done.returncode == 1
    assert f"question.jsonl:{len(judged.QUESTIONS) + 1}: broken JSON line" in done.stderr
    assert "Mend or remove this line." in done.stderr
    assert "Traceback" not in done.stderr
    assert judge.asked == []


def spent(folder: Path) -> float:
    with Ledger(folder / "results/store/ledger.sqlite") as ledger:
        return sum(cost.price_usd for cost in ledger.costs())


def test_a_limit_on_the_whole_run_is_kept_and_counts_what_was_spent(folder: Path, judge: Judge) -> None:
    limit = 0.145  # a call takes $0.0036, and is begun where the $0.126 that it could take are left
    more = ["--set", "judge.concurrency=4", "--max-cost"]
    done = judged.run(folder, judge.url, *more, str(limit))
    assert done.returncode == 1, done.stderr
    assert f"judge gpt-4 (rating): {TURNS} verdicts, {TURNS} calls, about" in done.stderr
    assert done.stderr.index("at most $") < done.stderr.index("start mt_bench"), "the price is said first"
    assert "--max-cost: the budget is spent" in done.stderr
    first = len(judge.asked)
    assert 0 < first < TURNS
    assert 0 < spent(folder) <= limit
    done = judged.run(folder, judge.url, *more, str(spent(folder)))
    assert done.returncode == 1
    assert len(judge.asked) == first, "what an earlier try has spent counts"
    done = judged.run(folder, judge.url, *more, "5")
    assert done.returncode == 0, done.stderr
    assert len(judge.asked) == TURNS
    assert scores(folder)["overall"] == [7.0, TURNS, TURNS]


def test_a_limit_without_a_price_ends_before_anything_runs(folder: Path, judge: Judge) -> None:
    done = judged.run(folder, judge.url, "--set", "judge.model=mystery", "--max-cost", "1")
    assert done.returncode == 1
    assert "no price is known for the judge mystery" in done.stderr
    assert judge.asked == []


def test_several_verdicts_on_each_answer(folder: Path, judge: Judge) -> None:
    """And a judge that echoes its key: it is in no file (the fixture looks) and no line."""
    judge.answer = lambda _, n: reply(f"For {CANARY}: [[{n % 2 * 2 + 4}]]")
    done = judged.run(folder, judge.url, "--set", "judge.repeats=2")
    assert done.returncode == 0, done.stderr
    assert len(judge.asked) == 2 * TURNS
    assert CANARY not in done.stdout + done.stderr
    run = folder / "results/runs/judged"
    assert scores(folder)["overall"] == [5.0, 2 * TURNS, 2 * TURNS]
    samples = pd.read_parquet(run / "samples.parquet")
    assert sorted(samples["repeat"]) == [0] * TURNS + [1] * TURNS
    (facts,) = json.loads((run / "run.json").read_text())["judging"]
    assert facts == {
        "cell": "cell",
        "benchmark": "mt_bench",
        "answers": TURNS,
        "with_verdict_pattern": 0,
        "repeats": 2,
        "repeat_sd": 1.4142,
        "verdicts": 2 * TURNS,
        "failed": [],
        "read_otherwise": 0,
        "read_there_only": 0,
    }
    assert "a standard deviation of 1.41" in (run / "report.html").read_text()
    assert judged.run(folder, judge.url, "--set", "judge.repeats=3").returncode == 0
    assert len(judge.asked) == 3 * TURNS, "only the third of each was asked for"


def test_judges_may_be_swept(folder: Path, judge: Judge) -> None:
    judge.answer = lambda body, _: reply("Rating: [[7]]" if body["model"] == "first" else "Rating: [[5]]")
    asked = f"base_url: '{judge.url}', api_key_env: {judged.KEY}"
    judges = ", ".join(f"{{{label}: {{model: {label}, {asked}}}}}" for label in ("first", "second"))
    done = judged.run(folder, judge.url, "--set", "judge=$judge", "--set", f"axes={{judge: [{judges}]}}")
    assert done.returncode == 0, done.stderr
    table = pd.read_parquet(folder / "results/runs/judged/scores.parquet").query("category == 'overall'")
    assert dict(zip(table["judge"], table["value"], strict=True)) == {"first": 7.0, "second": 5.0}
    assert "Their scores must not be compared" in (folder / "results/runs/judged/report.md").read_text()


def test_a_run_in_batches(folder: Path) -> None:
    with judged.in_thread(batch_stand_in.standing_in(batch_stand_in.BatchJudge(looks=1))) as batches:
        done = judged.run(folder, batches.url, "--set", "judge.batch=true")
    assert done.returncode == 0, done.stderr
    assert scores(folder)["overall"] == [7.0, TURNS, TURNS]
    assert sum(batches.submitted().values()) == TURNS
    assert len(batches.batches) == 1
