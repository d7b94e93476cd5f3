"""Whatever a file holds: what it says, or a HarnessError that names it. Never a traceback, never a hang."""

import gzip
import io
import json
import lzma
import math
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import strategies as st

from harness.bench.alpaca_eval import files as alpaca
from harness.bench.alpaca_eval.length_control import COLUMNS, read_reference
from harness.bench.api import SAMPLE_COLUMNS, SCORE_COLUMNS
from harness.bench.arena_hard import ArenaHardSettings
from harness.bench.arena_hard import files as arena
from harness.bench.mt_bench import MTBenchSettings
from harness.bench.mt_bench import files as fastchat
from harness.bench.recorded import READERS
from harness.calibration import calibration as calibration_record
from harness.calibration.measures import Measure
from harness.core.errors import HarnessError
from harness.core.lines import Journal, read_lines
from harness.data import pull
from harness.data.conversations import read_conversations, write_conversations
from harness.data.readers import read_dataset
from harness.data.settings import DatasetSettings, JoinedPrompts
from harness.models.inventory import inspected
from harness.models.load import load_model, load_reward_model, load_tokenizer
from harness.record.folder import PlannedRow, RunFolder, read_plan
from harness.record.run import CellRecord, CostRecord, as_json
from harness.report.load import load_run
from harness.stages.inventory import stored
from harness.stages.runner import read_order
from harness.store.ledger import Ledger, Reply
from harness.store.store import RECORD, Store
from harness.store.upkeep import damages, entries
from tests.fuzz.mutations import answer, broken, changed
from tests.fuzz.profiles import fuzz
from tests.report.fake_run import a_record, trained

Rows = list[Any]

SCHEMAS: list[Rows] = [
    [{"id": "a", "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "é"}]}] * 2,
    [{"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}, {"conversations": []}],
    [{"instruction": "q", "input": "i", "output": "a", "generator": "g"}, {"instruction": "p", "output": ""}],
    [{"index": 0, "prompt": "q", "response": "a", "system": "s"}, {"index": 1, "prompt": "p", "response": "b"}],
]
"""Instruction data as it comes."""


def as_jsonl(rows: Rows) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def as_parquet(rows: Rows) -> bytes:
    out = io.BytesIO()
    pd.DataFrame(rows).to_parquet(out)
    return out.getvalue()


WRITERS: dict[str, Callable[[Rows], bytes]] = {
    ".jsonl": as_jsonl,
    ".json": lambda rows: json.dumps(rows).encode(),
    ".jsonl.gz": lambda rows: gzip.compress(as_jsonl(rows), mtime=0),
    ".jsonl.xz": lambda rows: lzma.compress(as_jsonl(rows)),
    ".parquet": as_parquet,
}


@st.composite
def written(draw: st.DrawFn, rows: st.SearchStrategy[Rows], endings: tuple[str, ...]) -> tuple[str, bytes]:
    """An ending and the bytes of a file of it: strange rows, or sound rows in a broken file."""
    ending, given = draw(st.sampled_from(endings)), draw(rows)
    if ending == ".parquet" or draw(st.booleans()):
        return ending, draw(broken(WRITERS[ending](given)))
    now = draw(changed(given))
    return ending, WRITERS[ending](now if isinstance(now, list) else [now])


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@fuzz(
    60,
    2000,
    file=written(st.sampled_from(SCHEMAS), tuple(WRITERS)),
    prompts=st.none() | st.sampled_from(SCHEMAS).flatmap(changed),
    where=st.just({}) | st.just({"generator": "g"}),
)
def test_data_sets(tmp_path: Path, file: tuple[str, bytes], prompts: Rows | None, where: dict[str, Any]) -> None:
    """What is read can be written, and reads back the same."""
    path = put(tmp_path / f"data{file[0]}", file[1])
    joined = None
    if prompts is not None:
        joined = JoinedPrompts(path=put(tmp_path / "prompts.json", json.dumps(prompts).encode()), on="index")
    settings = DatasetSettings(path=path, prompts=joined, where=where)
    found = answer(lambda: read_dataset(settings, 0), str(path), str(tmp_path / "prompts.json"))
    if found is not None:
        write_conversations(tmp_path / "canonical.jsonl", found.conversations)
        assert list(read_conversations(tmp_path / "canonical.jsonl")) == found.conversations
        assert found.counts["kept"] + len(found.skipped) == found.counts["matched"]


@fuzz(40, 800, file=written(st.sampled_from(SCHEMAS), (".jsonl", ".jsonl.xz")))
def test_lines_are_named(tmp_path: Path, file: tuple[str, bytes]) -> None:
    path = put(tmp_path / f"x{file[0]}", file[1])
    answer(lambda: list(read_lines(path)), str(path))
    answer(lambda: list(read_conversations(path)), str(path))


@fuzz(30, 500, content=broken(as_jsonl([{"id": k, "text": "é\u2028"} for k in range(5)])))
def test_journals(tmp_path: Path, content: bytes) -> None:
    """A torn end is cut off; anything else that is broken is named. What was appended is there the next time."""
    path = put(tmp_path / "j.jsonl", content)

    def reopened() -> bool:
        with Journal(path) as journal:
            journal.append({"id": "new"})
            kept = journal.records
        with Journal(path) as again:
            assert again.records == kept
        return True

    answer(reopened, f"{path}:")


QUESTION: Rows = [{"question_id": 81, "category": "writing", "turns": ["a", "b"]}]
ANSWER: Rows = [{"question_id": 81, "choices": [{"index": 0, "turns": ["x", None]}], "model_id": "m"}]
SINGLE: Rows = [
    {"question_id": 81, "model": m, "judge": ["gpt-4", "p"], "judgment": "[[7]]", "score": 7, "turn": t}
    for m in ("m", "base")
    for t in (1, 2)
]
PROMPT: Rows = [{"name": "p", "system_prompt": "s", "prompt_template": "{question} {answer}"}]
UID: Rows = [
    {"uid": "u", "category": "c", "prompt": "q"},
    {"question_id": "v", "category": "c", "turns": [{"content": "q"}]},
]
SAID: Rows = [
    {"uid": "u", "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": {"answer": "a"}}]}
]
GAMES: Rows = [{"uid": "u", "model": "m", "judge": "gpt", "games": [{"score": "A>>B", "judgment": "[[A>>B]]"}, None]}]
NOTES: Rows = [
    {"instruction": "q", "output_1": "a", "output_2": "b", "generator_1": "x", "generator_2": "m", "preference": 1.5},
    {"index": 1, "model": "m", "preference": 2, "len_1": 3, "len_2": 4},
]
FIELDS = {"p": frozenset({"question", "answer"})}
BENCH: list[tuple[Rows, str, Callable[[Path], Any]]] = [
    (QUESTION, ".jsonl", fastchat.read_questions),
    (ANSWER, ".jsonl", fastchat.read_answers),
    (SINGLE, ".jsonl", lambda path: fastchat.read_judgments([path])),
    (PROMPT, ".jsonl", lambda path: fastchat.read_prompts(path, FIELDS)["p"].render(question="q", answer="{a}")),
    (UID, ".jsonl", arena.read_questions),
    (SAID, ".jsonl", arena.read_answers),
    (GAMES, ".jsonl", lambda path: arena.read_games([path])),
    *((NOTES, ending, alpaca.read_annotations) for ending in (".json", ".jsonl")),
    (NOTES[:1], ".parquet", alpaca.read_annotations),
    *(([{"instruction": "q", "dataset": "d"}], end, alpaca.read_instructions) for end in (".json", ".parquet")),
    ([{"index": 0, "output": "a", "generator": "m"}], ".json", lambda path: alpaca.read_outputs(path, "m", [])),
]
"""Rows, ending, reader."""


@pytest.mark.parametrize("which", range(len(BENCH)))
def test_the_fuzzed_benchmark_files_are_good(tmp_path: Path, which: int) -> None:
    rows, ending, reader = BENCH[which]
    reader(put(tmp_path / f"x{ending}", WRITERS[ending](rows)))


@fuzz(100, 2000, which=st.integers(0, len(BENCH) - 1), data=st.data())
def test_benchmark_files(tmp_path: Path, which: int, data: st.DataObject) -> None:
    rows, ending, reader = BENCH[which]
    path = put(tmp_path / f"x{ending}", data.draw(written(st.just(rows), (ending,)))[1])
    for found in answer(lambda: reader(path), str(path)) or ():
        verdict = getattr(found, "verdict", None)
        assert verdict is None or verdict.reply.value is None or math.isfinite(verdict.reply.value)
        preference = getattr(found, "preference", None)
        assert preference is None or 1 <= preference <= 2


RECORDED: list[tuple[str, Any, Mapping[str, Rows]]] = [
    (
        "mt_bench",
        lambda folder: MTBenchSettings(data=folder),
        {"question.jsonl": QUESTION, "model_answer/m.jsonl": ANSWER, "model_judgment/gpt-4_single.jsonl": SINGLE},
    ),
    (
        "arena_hard",
        lambda folder: ArenaHardSettings(data=folder),
        {"question.jsonl": UID, "model_answer/m.jsonl": SAID, "model_judgment/gpt-4-1106-preview/m.jsonl": GAMES},
    ),
]


@fuzz(30, 600, which=st.integers(0, 1), file=st.integers(0, 2), data=st.data())
def test_recorded_verdicts(tmp_path: Path, which: int, file: int, data: st.DataObject) -> None:
    name, settings, files = RECORDED[which]
    for place, rows in files.items():
        put(tmp_path / name / place, as_jsonl(rows))
    place = list(files)[file]
    put(tmp_path / name / place, data.draw(written(st.just(files[place]), (".jsonl",)))[1])
    folder = tmp_path / name
    found = answer(lambda: READERS[name](settings(folder), folder, None), str(folder))
    for model in found.models if found else ():
        assert model.verdicts
        low, high = (0, 1) if found.share else (1, 10)
        assert all(low <= value <= high for value in model.verdicts.values())


REFERENCE = (",".join(COLUMNS) + "\n0,a,0.5,-1,1.5,1\n1,a,1,2,-0.5,0\n").encode()


@fuzz(
    30,
    500,
    examples=[{"content": REFERENCE + line} for line in (b"1,a,1,:,0,0\n", b"inf,a,1,1,0,0\n", b"x,a,1,1,0,0\n")],
    content=broken(REFERENCE) | st.binary(max_size=40).map(REFERENCE.__add__),
)
def test_csv(tmp_path: Path, content: bytes) -> None:
    path = put(tmp_path / "x.csv", content)
    found = answer(lambda: read_reference(path), str(path))
    assert found is None or np.isfinite([*found.difficulty.values(), *found.preference, *found.features.ravel()]).all()


@fuzz(30, 500, rows=st.sampled_from([QUESTION, PROMPT, ANSWER]).flatmap(changed), flips=st.booleans(), data=st.data())
def test_what_is_fetched_is_right_or_not(rows: Rows, flips: bool, data: st.DataObject) -> None:
    content = as_jsonl(rows) if isinstance(rows, list) else repr(rows).encode("utf-8", "replace")
    for part in pull.SETS["mt_bench"]:
        assert pull._right(part, data.draw(broken(content)) if flips else content) is False


STAGE = "a" * 64
ARTIFACT = {
    "id": STAGE,
    "identity": {"kind": "train", "version": 1, "params": {}, "inputs": {}},
    "files": {"x.txt": "0" * 64},
    "provenance": {"title": "t", "seconds": 1.5},
}
ORDER = {"id": STAGE, "identity": ARTIFACT["identity"], "execution": {}, "inputs": {"data": "/x"}, "title": "t"}
PLAN = {
    "recipe": "r.yaml",
    "judge_epoch": 0,
    "cells": [vars(PlannedRow("a", {}, False, (STAGE,)))],
    "stages": "0" * 64,
}
MEASURES = [Measure(name, "all", 0.5, 0.4, None, 10, 10, 10).__dict__ for name in ("spearman", "kappa")]
CALIBRATION = {
    **dict.fromkeys(("digest", "judge", "protocol", "benchmark", "reference", "date"), "x"),
    "form": "rating",
    "measures": MEASURES,
    "models": {},
    "cost": {},
    "data": {},
    "informative": True,
    "note": "",
}
RUN = as_json(
    a_record(
        axes={"seed": ("0", "1")},
        cells=(CellRecord("seed=0", {"seed": "0"}, baseline=False, failed=None),),
        training=(trained("seed=0", chosen={"learning_rate": 0.1}),),
        costs=(CostRecord("seed=0", {"train": 1.5}, judge_calls=2, judge_tokens=30, price_usd=None),),
        warnings=("w",),
    )
)


def record(draw: Callable[[Any], Any], sound: Any) -> bytes:
    """A JSON file that something happened to."""
    text = json.dumps(sound, indent=1)
    return bytes(draw(broken(text.encode()) | changed(sound).map(json.dumps).map(str.encode)))


@fuzz(60, 1000, data=st.data())
def test_records_of_the_store(tmp_path: Path, data: st.DataObject) -> None:
    """An artifact's record and a stage's order; looking after the store goes on whatever one of them says."""
    store = Store(tmp_path / "store")
    put(store.path(STAGE) / RECORD, record(data.draw, ARTIFACT))
    put(store.planned / f"{STAGE}.json", record(data.draw, ORDER))
    found = answer(lambda: store.record(STAGE), str(store.path(STAGE)))
    answer(lambda: stored(store), str(store.path(STAGE)))
    assert found or [damage.what for damage in damages(store, [STAGE])]
    (entry,) = entries(store)
    assert entry.kind == (found["identity"]["kind"] if found else "unknown")
    order = answer(lambda: read_order(store, STAGE), str(store.planned))
    assert order is None or all(Path(place).parts for place in order.inputs.values())


@fuzz(60, 1000, data=st.data())
def test_records_of_runs_and_judges(tmp_path: Path, data: st.DataObject) -> None:
    """A plan, and a calibration: what is read has all that is said beside a score."""
    answer(lambda: read_plan(RunFolder(put(tmp_path / "plan.json", record(data.draw, PLAN)).parent)), "plan.json")
    put(tmp_path / "x.json", record(data.draw, CALIBRATION))
    found = answer(lambda: calibration_record.find(tmp_path, "x"), "x.json")
    assert found is None or (found.note and found.informative in (True, False))


def run_tables(folder: Path) -> None:
    """The tables of a run, without rows."""
    for name, columns in (("samples", SAMPLE_COLUMNS), ("scores", SCORE_COLUMNS)):
        pd.DataFrame(columns=["cell", *columns]).to_parquet(folder / f"{name}.parquet")


@fuzz(40, 700, which=st.sampled_from(["run.json", "plan.json", "recipe.yaml", "scores.parquet"]), data=st.data())
def test_run_folders(tmp_path: Path, which: str, data: st.DataObject) -> None:
    put(tmp_path / "run.json", json.dumps(RUN).encode())
    put(tmp_path / "plan.json", json.dumps(PLAN).encode())
    put(tmp_path / "recipe.yaml", b"name: r\nreport: {baseline: seed=0}\n")
    run_tables(tmp_path)
    load_run(tmp_path)
    path = tmp_path / which
    sound = {"run.json": RUN, "plan.json": PLAN}.get(which)
    path.write_bytes(data.draw(broken(path.read_bytes())) if sound is None else record(data.draw, sound))
    run = answer(lambda: load_run(tmp_path), str(path))
    for cell in run.cells if run else ():
        assert isinstance(cell.cell, str)
        assert isinstance(cell.baseline, bool)


@pytest.mark.parametrize(
    ("name", "value"), [("num_hidden_layers", 2**31), ("vocab_size", 2**40), ("num_labels", 2**31)]
)
def test_a_config_that_claims_more_than_there_is(tmp_path: Path, pocket_folder: Path, name: str, value: int) -> None:
    """Transformers would build it: for hours, or until memory is full."""
    folder = Path(shutil.copytree(pocket_folder, tmp_path / "model"))
    config = json.loads((folder / "config.json").read_text())
    put(folder / "config.json", json.dumps({**config, name: value}).encode())
    with pytest.raises(HarnessError, match=f"{name} is {value}"):
        load_model(folder, "float32")


@fuzz(15, 200, data=st.data())
def test_ledgers(tmp_path: Path, data: st.DataObject) -> None:
    """A broken ledger is no ledger, or still gives replies as they were recorded."""
    sound, folder = tmp_path / "sound.sqlite", Path(tempfile.mkdtemp(dir=tmp_path))
    if not sound.exists():
        with Ledger(sound) as ledger:
            key = ("j", "r", 0)
            ledger.end(ledger.begin(key), key, Reply("ok", 7.0, "[[7]]", "m", 1, 2, None, 0.5, "{}"))
    put(folder / "ledger.sqlite", data.draw(broken(sound.read_bytes())))

    def reread() -> bool:
        with Ledger(folder / "ledger.sqlite") as opened:
            opened.interrupted()
            opened.costs()
            return len(opened.recorded("j", [("r", 0)])) <= 1

    answer(reread, "ledger.sqlite")


@fuzz(
    10,
    400,
    name=st.sampled_from(["model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"]),
    data=st.data(),
)
def test_model_folders(tmp_path: Path, pocket_folder: Path, name: str, data: st.DataObject) -> None:
    """Broken files, a config that says something else, weights whose header claims more than there is."""
    folder = tmp_path / "model"
    if not folder.exists():
        shutil.copytree(pocket_folder, folder)
    content = (pocket_folder / name).read_bytes()
    if name == "config.json":
        content = record(data.draw, json.loads(content))
    elif name == "model.safetensors":
        header = data.draw(
            st.none() | broken(content[:600]) | st.integers(0, 2**64 - 1).map(lambda n: n.to_bytes(8, "little"))
        )
        content = data.draw(broken(content)) if header is None else header + content[len(header) :]
    else:
        content = data.draw(broken(content))
    put(folder / name, content)
    try:
        answer(lambda: inspected(folder), str(folder))
        if name.startswith("tokenizer"):
            answer(lambda: load_tokenizer(folder), str(folder))
        else:
            answer(lambda: load_model(folder, "float32"), str(folder))
            answer(lambda: load_reward_model(folder, "float32", new_head=True), str(folder))
    finally:
        shutil.copyfile(pocket_folder / name, folder / name)
