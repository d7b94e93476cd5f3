"""What fuzzing has found, each in its smallest form; and what SECURITY.md says of names and of code."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.bench.alpaca_eval.files import read_annotations
from harness.bench.lm_eval import tasks
from harness.core.errors import HarnessError
from harness.data.readers import read_dataset
from harness.data.settings import DatasetSettings, JoinedPrompts
from harness.models.inventory import inspected
from harness.recipe import RecipeError, load
from harness.record.run import as_json, read_run
from harness.stages.runner import read_order
from harness.store.ledger import Ledger
from harness.store.store import Store
from tests.report.fake_run import a_record

ROOT = Path(__file__).parents[2]
RECIPE = "student: pocket:llama\nevaluate: [{pocket: {}}]\n"
JUDGED = RECIPE + "judge: {model: m, %s}\n"
TRAINED = "data: {train: {pocket: {examples: 9}}}\ntrain: [{sft: {select: {learning_rate: [1e-3, %s]}}}]\n"


def refused(folder: Path, text: str) -> str:
    (folder / "r.yaml").write_text(text)
    with pytest.raises(RecipeError) as caught:
        load(folder / "r.yaml")
    return "\n".join(str(fault).removeprefix(f"{folder}/") for fault in caught.value.faults)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('"\\e[2J\\n": 1\n' + RECIPE, "r.yaml:1: \\x1b[2J\\n: unknown key"),
        (JUDGED % "temperature: -1", "r.yaml:3: judge.temperature: must be at least 0, not -1"),
        (JUDGED % "base_url: 'http://[x'", "r.yaml:3: judge.base_url: 'base_url' is an address such as"),
        (JUDGED % "base_url: localhost/v1", "r.yaml:3: judge.base_url: 'base_url' is an address such as"),
        (RECIPE + TRAINED % -1, "r.yaml:4: train[0].sft.select.learning_rate[1]: must be more than 0, not -1"),
    ],
)
def test_recipes_that_were_misread(tmp_path: Path, text: str, fault: str) -> None:
    assert fault in refused(tmp_path, text)


ESCAPES = ("../x", "/etc", "a/b", "..", ".hidden", "a\\b", "a b", "é", "")


@pytest.mark.parametrize("name", ESCAPES)
def test_names_stay_in_their_folder(tmp_path: Path, name: str) -> None:
    """Of runs, of labels (and so of cells), of benchmarks, models and domains."""
    quoted = json.dumps(name)
    assert "r.yaml:1: name: " in refused(tmp_path, f"name: {quoted}\n{RECIPE}")
    assert "evaluate[0]" in refused(tmp_path, f"student: pocket:llama\nevaluate: [{{{quoted}: {{}}}}]\n")
    if name not in ("..", ".hidden"):  # between `axis=` and `,` a dot is a letter like any other
        assert "axes.seed[0]" in refused(tmp_path, f"{RECIPE}seed: $seed\naxes: {{seed: [{{{quoted}: 1}}]}}\n")
        made = "{base: 'pocket:llama', data: {train: {pocket: {examples: 9}}}, train: [{sft: {}}]}"
        assert "a model's name is" in refused(tmp_path, f"{RECIPE}models: {{{quoted}: {made}}}\n")
        domains = f"data: {{domains: {{{quoted}: {{pocket: {{examples: 9}}}}}}}}\n"
        assert "a domain's name is" in refused(tmp_path, RECIPE + domains)


BAD_MODULES = {"tarfile", "zipfile", "pickle", "marshal", "shelve"}
BAD_CALLS = {"eval", "exec", "compile", "shutil.unpack_archive", "torch.load", "yaml.unsafe_load", "yaml.full_load"}

SAFE_LOADERS = ("yaml.BaseLoader", "_Loader")
"""The second is lm-eval's task files', which it reads as plain values."""


def bad(node: ast.AST) -> bool:
    """Whether it could unpack an archive, unpickle, or run text as code."""
    match node:
        case ast.Import(names=names):
            return any(alias.name in BAD_MODULES for alias in names)
        case ast.ImportFrom(module=module):
            return module in BAD_MODULES
        case ast.keyword(arg="trust_remote_code" | "allow_pickle", value=ast.Constant(value=value)):
            return value is not False
        case ast.Call(func=func, args=args, keywords=keywords):
            called, last = ast.unparse(func), [*args, *(k.value for k in keywords)][-1:]
            return called in BAD_CALLS or (called == "yaml.load" and ast.unparse(last[0]) not in SAFE_LOADERS)
    return False


def test_nothing_unpacks_evaluates_or_unpickles() -> None:
    assert issubclass(tasks._Loader, yaml.SafeLoader)
    assert bad(ast.parse("yaml.load(text, yaml.Loader)").body[0].value)  # type: ignore[attr-defined]
    for path in (ROOT / "harness").rglob("*.py"):
        lines = [getattr(node, "lineno", 0) for node in ast.walk(ast.parse(path.read_text())) if bad(node)]
        assert not lines, f"{path}: lines {lines}"


DEEP, LONG, HALF = "[" * 100_000, "9" * 5000, '{"prompt": "\\ud800"}'


def test_names_of_columns_break_no_line(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text(json.dumps({"\x1e\r\n\x1b[2J": [], "prompt": "q", "response": "a"}) + "\n")
    with pytest.raises(HarnessError) as failed:
        read_dataset(DatasetSettings(path=path, where={"generator": "g"}), 0)
    assert len(str(failed.value).splitlines()) == 2
    assert r"\x1e\r\n\x1b[2J, prompt, response" in str(failed.value)


@pytest.mark.parametrize("line", [DEEP, LONG, HALF, '{"messages": [{"role": ["user"], "content": "x"}]}'])
@pytest.mark.parametrize("ending", ["json", "jsonl"])
def test_data_that_was_a_traceback(tmp_path: Path, line: str, ending: str) -> None:
    path = tmp_path / f"d.{ending}"
    path.write_text(line if ending == "jsonl" else f"[{line}]")
    with pytest.raises(HarnessError, match=rf"d\.{ending}"):
        read_dataset(DatasetSettings(path=path), 0)


@pytest.mark.parametrize("row", [{"prompt": "q"}, {"index": [0], "prompt": "q"}])
def test_a_join_over_what_is_no_key(tmp_path: Path, row: dict[str, Any]) -> None:
    (tmp_path / "d.json").write_text(json.dumps([{"index": 0, "prompt": "q"}, row]))
    (tmp_path / "p.json").write_text(json.dumps([{"index": 0, "prompt": "q"}]))
    settings = DatasetSettings(path=tmp_path / "d.json", prompts=JoinedPrompts(path=tmp_path / "p.json"))
    data = read_dataset(settings, 0)
    assert data.counts == {"rows": 2, "matched": 1, "kept": 1, "skipped: no prompt to join": 1}


@pytest.mark.parametrize(
    "field", ['"index": Infinity', '"index": NaN', '"len_2": NaN', '"len_1": 1e999', '"instruction": []']
)
def test_annotations_that_were_a_traceback(tmp_path: Path, field: str) -> None:
    (tmp_path / "a.json").write_text(f'[{{"model": "m", "preference": 1, {field}}}]')
    with pytest.raises(HarnessError, match=r"a\.json, row 1"):
        read_annotations(tmp_path / "a.json")


@pytest.mark.parametrize("length", [2**62, 2**64 - 1])
def test_a_header_longer_than_its_file(tmp_path: Path, length: int) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(length.to_bytes(8, "little") + b"{}")
    with pytest.raises(HarnessError, match=r"model\.safetensors: is no safetensors file"):
        inspected(tmp_path)


def test_a_schema_that_is_no_sql(tmp_path: Path) -> None:
    """SQLite quotes what it could not read, with its lines."""
    path = tmp_path / "ledger.sqlite"
    Ledger(path).close()
    content = path.read_bytes()
    assert b"latency_s REAL" in content
    path.write_bytes(content.replace(b"latency_s REAL", b"la`ency_s REAL"))
    with pytest.raises(HarnessError, match="the ledger cannot be used") as failed:
        Ledger(path)
    assert len(str(failed.value).splitlines()) == 2


def test_an_order_whose_input_is_nowhere(tmp_path: Path) -> None:
    """An empty place would be the folder that the harness was started in."""
    store, identity = Store(tmp_path / "store"), {"kind": "train", "version": 1, "params": {}, "inputs": {}}
    order = {"id": "a" * 64, "identity": identity, "execution": {}, "inputs": {"data": ""}, "title": "t"}
    (store.planned / f"{'a' * 64}.json").write_text(json.dumps(order))
    with pytest.raises(HarnessError, match="is no planned stage"):
        read_order(store, "a" * 64)


@pytest.mark.parametrize(
    "record",
    [
        {"axes": [1]},
        {"cells": [1]},
        {"cells": None},
        {"cells": False},
        {"axes": {"a": 1}},
        {"metrics": [{"benchmark": 3}]},
        {"not_repeatable": 3},
    ],
)
def test_a_run_of_another_shape(tmp_path: Path, record: dict[str, Any]) -> None:
    sound = as_json(a_record())
    (tmp_path / "run.json").write_text(json.dumps(sound))
    assert read_run(tmp_path / "run.json") == a_record()
    (tmp_path / "run.json").write_text(json.dumps(sound | record))
    with pytest.raises(HarnessError, match=r"run\.json"):
        read_run(tmp_path / "run.json")
