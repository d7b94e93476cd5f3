"""Every stage kind still puts out what it did, or its version is a new one; and stages are still called the same.

Where one of these fails: is the change wanted? Then raise the kind's version (in its `KIND`), since stores hold what
the old code made, and run `python -m tests.stages.golden`.
"""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from harness.plan.build import build
from harness.recipe.load import load
from harness.stages.api import Session, Stage
from harness.stages.registry import KINDS
from harness.stages.runner import Order, run_stage
from harness.store.store import Store
from tests.cli import recipes
from tests.stages import golden
from tests.stages.code_changes import CHANGES, Change
from tests.stages.fingerprint import differences, files, fingerprint, of_file, travelled
from tests.stages.planted import planted

GOLDEN: dict[str, Any] = json.loads(golden.GOLDEN.read_text())
RUN = [name for name, was in GOLDEN.items() if "out" in was]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("golden")


@pytest.fixture(scope="module")
def store(folder: Path) -> Store:
    return Store(folder / "store")


@pytest.fixture(scope="module")
def plan(folder: Path) -> dict[str, Stage]:
    return golden.stages(folder)


@pytest.fixture(scope="module")
def now(plan: dict[str, Stage], store: Store) -> dict[str, Any]:
    """Every stage of the golden plan, run here."""
    return golden.fingerprints(plan, store)


def test_every_kind_is_in_it() -> None:
    assert {was["kind"] for was in GOLDEN.values()} == set(KINDS)
    assert {GOLDEN[change.stage]["kind"] for change in CHANGES} == set(KINDS)


@pytest.mark.parametrize("name", GOLDEN)
def test_output(now: dict[str, Any], name: str) -> None:
    was, here = GOLDEN[name], now[name]
    assert was["version"] == here["version"], "a new version: run `python -m tests.stages.golden`"
    assert was["asked"] == here["asked"], "the same stage has a new name: every store would build it again"
    assert golden.changed(was, here) == [], f"`{was['kind']}` puts out something else under the same version"


def test_a_change_is_written_under_a_new_version_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = copy.deepcopy(GOLDEN)
    made["score"]["out"]["samples.parquet"]["text"] = "another"
    value = made["measure"]["out"]["samples.parquet"]["floats"]["value"]
    value["projections"][0] += value["within"] / 2
    monkeypatch.setattr(golden, "GOLDEN", tmp_path / "golden.json")
    monkeypatch.setattr(golden, "stages", lambda folder: {})
    monkeypatch.setattr(golden, "fingerprints", lambda plan, store: made)
    golden.GOLDEN.write_text(json.dumps(GOLDEN))
    assert golden.main() == 1
    assert capsys.readouterr().err == "score: its version did not change, and these did: samples.parquet\n"
    assert json.loads(golden.GOLDEN.read_text()) == GOLDEN
    made["score"]["version"] += ".1"
    assert golden.main() == 0
    assert json.loads(golden.GOLDEN.read_text()) == GOLDEN | {"score": made["score"]}, "last bits are not written anew"


def test_ids_of_a_recipe(tmp_path: Path) -> None:
    """From YAML to ids: a default that changes, or a setting that becomes identity, is seen here."""
    plan = build(load(recipes.write(tmp_path), []))
    assert [(stage.title, stage.id[:16]) for stage in plan.stages.values()] == RECIPE_IDS


@pytest.mark.parametrize("name", RUN)
def test_a_change_of_a_file_is_found(now: dict[str, Any], plan: dict[str, Stage], store: Store, name: str) -> None:
    """Of each file: values, places, signs, names, rows and columns; and the file itself."""
    artifact, was, unseen = store.path(plan[name].id), GOLDEN[name]["out"], []
    travel = travelled(artifact)
    for path in files(artifact):
        file, whole = path.relative_to(artifact).as_posix(), path.read_bytes()
        for what, content in planted(path):
            path.write_bytes(content)
            if not differences({file: was[file]}, {file: of_file(path, travel)}):
                unseen.append(f"{file}: {what}")
        path.write_bytes(whole)
    assert unseen == []
    assert golden.changed(GOLDEN[name], now[name] | {"out": fingerprint(artifact)}) == [], "all is as it was"


@pytest.mark.parametrize("name", RUN)
def test_a_file_more_or_less_is_found(now: dict[str, Any], name: str) -> None:
    out = now[name]["out"]
    assert differences(GOLDEN[name]["out"], out | {"more.txt": {"text": "", "floats": {}}}) == ["more.txt"]
    for file in out:
        assert differences(GOLDEN[name]["out"], {k: v for k, v in out.items() if k != file}) == [file]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: f"{change.stage}: {change.what}")
def test_a_change_of_the_code_is_found(
    now: dict[str, Any],
    plan: dict[str, Stage],
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Change,
) -> None:
    """The stage runs once more on the same inputs, with one function that does something else."""
    change.plant(monkeypatch)
    out = rerun(plan[change.stage], store, Store(tmp_path / "store"))
    assert differences(GOLDEN[change.stage]["out"], out)


@pytest.mark.parametrize("name", ["measure", "reward_model", "train", "train, kd"])
def test_last_bits_are_no_change(
    plan: dict[str, Stage],
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """Each product of matrices is off by up to sixteen roundings, more than another order of its sum could be."""
    import torch

    linear, generator = torch.nn.functional.linear, torch.Generator().manual_seed(0)
    off = 0

    def rounded(*given: Any) -> Any:
        nonlocal off
        exact = linear(*given)
        other = exact * (1 + 2.0**-20 * (2 * torch.rand(exact.shape, generator=generator) - 1))
        off += int((other != exact).sum())
        return other

    monkeypatch.setattr("torch.nn.functional.linear", rounded)
    out = rerun(plan[name], store, Store(tmp_path / "store"))
    assert differences(GOLDEN[name]["out"], out) == []
    assert off > 1000, "numbers within the model; a file that is written with few digits may be equal all the same"


def rerun(stage: Stage, store: Store, other: Store) -> dict[str, Any]:
    """Run a stage of one store in another, and fingerprint it."""
    places = {role: str(given.path or store.path(given.id)) for role, given in stage.inputs.items()}
    order = Order(stage.id, stage.identity, dict(stage.execution), places, stage.title)
    run_stage(other, order, Session(), lambda *_, **__: None)
    return fingerprint(other.path(stage.id))


RECIPE_IDS = [
    ("data train", "6e6712b9fce3870d"),
    ("pocket: prompts in data train", "92b942a44f8836d5"),
    ("build pocket:llama?layers=1&width=16&heads=2&seed=1", "56099280216e5060"),
    ("tokens of data train", "c61492997654d0e7"),
    ("sft method=sft,seed=0", "8fd937b7ab468920"),
    ("pocket: answers of method=sft,seed=0", "7313f86715e24354"),
    ("pocket: verdicts of method=sft,seed=0", "49ef4cd343baedeb"),
    ("pocket: scores of method=sft,seed=0", "30ef3548ab2611c8"),
    ("sft method=sft,seed=1", "ae5529f7a44262a4"),
    ("pocket: answers of method=sft,seed=1", "8b7112b783081170"),
    ("pocket: verdicts of method=sft,seed=1", "dacbb274bdf077a1"),
    ("pocket: scores of method=sft,seed=1", "a02fb789fac24b2c"),
    ("data train", "a0ebc895c4820493"),
    ("pocket: prompts in data train", "8c10572ceef347f4"),
    ("build pocket:llama?layers=1&width=32&heads=2&seed=2", "79e603702c23578e"),
    ("tokens of data train", "820847554f1845c9"),
    ("sft big", "b17f5f6309280fc4"),
    ("kd method=kd,seed=0", "dd0dc1030aa397e0"),
    ("pocket: answers of method=kd,seed=0", "2ee6501de5fccc10"),
    ("pocket: verdicts of method=kd,seed=0", "10aefaac9d8f39f6"),
    ("pocket: scores of method=kd,seed=0", "67e8bf573e095e7b"),
    ("kd method=kd,seed=1", "52ee1654004dabb9"),
    ("pocket: answers of method=kd,seed=1", "aa779583e6449062"),
    ("pocket: verdicts of method=kd,seed=1", "a2d2f945ccb218cd"),
    ("pocket: scores of method=kd,seed=1", "e46c3f7d7d09d02f"),
    ("pocket: answers of student", "dfe649a1405add4f"),
    ("pocket: verdicts of student", "c4a5aa104e2d37b6"),
    ("pocket: scores of student", "d7959b60ef6abc37"),
    ("pocket: answers of teacher", "fcd241e43e32d5ad"),
    ("pocket: verdicts of teacher", "0a58e46330457481"),
    ("pocket: scores of teacher", "aa8b2e2a18785a48"),
]
