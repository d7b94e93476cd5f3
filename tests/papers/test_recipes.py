"""The papers' full-size recipes: valid, planned without a download, and refused by a run that lacks their models."""

from pathlib import Path

import jinja2
import pytest
import yaml

from harness.api.recipes import load_recipe, plan_recipe
from harness.core.absent import absent_allowed
from harness.core.errors import HarnessError
from harness.models.refs import parse, pin
from harness.plan.build import build
from harness.plan.estimate import estimate, unknown
from harness.recipe.load import load
from harness.stages.pinned import is_absent, pinned_file
from harness.store.store import Store
from harness_papers import published
from tests.plan.unreachable import no_hub

RECIPES = Path(__file__).parents[2] / "recipes" / "papers"
NAMES = sorted(p.stem for p in RECIPES.glob("*.yaml"))


@pytest.fixture(autouse=True)
def nothing_is_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No data beside us, an empty cache of the hub, and no way to the hub."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("harness.models.refs._cached", lambda ref: None)
    monkeypatch.setattr("harness.models.refs._downloaded", no_download)


def no_download(ref: object) -> None:
    raise HarnessError(f"`{ref}` is not here", fix="Tests download nothing.")


def test_both_papers_have_one() -> None:
    assert NAMES == ["stronger-teachers", "teacher-million"]


@pytest.mark.parametrize("name", NAMES)
def test_a_plan_names_what_is_not_here(name: str, tmp_path: Path) -> None:
    with absent_allowed() as absent:
        plan = build(load(RECIPES / f"{name}.yaml", []))
    assert any(text.startswith("hf:") for text in absent)
    assert all(unknown(judged) for _, _, judged in plan.judged)
    assert estimate(plan, Store(tmp_path / "store")) == []
    leaves = [s for stage in plan.stages.values() for s in stage.inputs.values() if s.is_leaf]
    assert {s.params["absent"] for s in leaves if is_absent(s)} == set(absent)


@pytest.mark.parametrize("name", NAMES)
def test_a_run_refuses_them(name: str) -> None:
    with pytest.raises(HarnessError, match=r"is not here|no such file"):
        build(load(RECIPES / f"{name}.yaml", []))


def test_what_is_absent_is_allowed_only_for_a_look(tmp_path: Path) -> None:
    with absent_allowed() as absent:
        assert is_absent(pinned_file(tmp_path / "gone.jsonl"))
    assert list(absent) == [str(tmp_path / "gone.jsonl")]
    with pytest.raises(HarnessError, match="no such file"):
        pinned_file(tmp_path / "gone.jsonl")


def test_a_file_that_is_here_is_pinned_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "here.jsonl").write_text("{}\n")
    with absent_allowed() as absent:
        assert not is_absent(pinned_file(tmp_path / "here.jsonl"))
    assert not absent


def test_a_hub_model_that_is_not_here_is_known_by_its_name() -> None:
    found = pin(parse("hf:org/name@main"), download=False)
    assert (found.path, found.digest) == (None, "hf:org/name@main")
    with pytest.raises(HarnessError, match="is not here"):
        pin(parse("hf:org/name@main"))


def test_kd_is_shared_by_the_ratios() -> None:
    with absent_allowed():
        plan = build(load(RECIPES / "teacher-million.yaml", []))
    steps = [s.params["step"] for s in plan.stages.values() if s.kind == "train"]
    assert {name: steps.count(name) for name in set(steps)} == {"sft": 1, "kd": 2 * 3 * 2, "dae": 2 * 3 * (5 + 2)}


@pytest.mark.parametrize(("name", "hours"), [("teacher-million", (1000, 20_000)), ("stronger-teachers", (300, 2_000))])
def test_their_resources_fit_and_their_hours_are_those_that_operations_give(
    name: str, hours: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_hub(monkeypatch)
    seen = plan_recipe(load_recipe(RECIPES / f"{name}.yaml"), results=tmp_path).prospect
    assert [fit.remedy for fit in seen.fits if fit.remedy] == []
    assert seen.device.memory_bytes == 80e9
    assert hours[0] < seen.gpu_hours.least < seen.gpu_hours.most < hours[1]
    assert seen.gpu_usd is not None


def test_generators_and_bases_are_called_as_in_table_6() -> None:
    recipe = yaml.safe_load((RECIPES / "stronger-teachers.yaml").read_text())
    printed = published.table("stronger_teachers_table6")
    for axis, column in (("teacher", "generator"), ("student", "base")):
        assert {label for value in recipe["axes"][axis] for label in value} == set(printed[column])
    meta = published.stronger_teachers_meta().dropna().set_index("teacher")
    about = recipe["teachers"]["about"]
    assert {name: (row["family"], row["size_b"]) for name, row in about.items()} == {
        name: (row["family"], row["size_b"]) for name, row in meta.to_dict("index").items()
    }


@pytest.mark.parametrize("template", ["mistral", "plain"])
def test_templates_mark_the_end_of_an_answer(template: str) -> None:
    text = (RECIPES / f"{template}.jinja").read_text()
    messages = [{"role": "user", "content": "Ask"}, {"role": "assistant", "content": "Say"}]
    render = jinja2.Environment(autoescape=False).from_string(text).render
    whole = render(messages=messages, bos_token="<s>", eos_token="</s>", add_generation_prompt=False)
    prompt = render(messages=messages[:1], bos_token="<s>", eos_token="</s>", add_generation_prompt=True)
    assert "Say</s>" in whole
    assert whole.startswith(prompt.rstrip())


def test_values_that_no_paper_states_are_marked() -> None:
    """Every setting of the two pipelines that is not in the papers' own list carries the mark."""
    stated = {
        "teacher-million": {"lambda", "temperature", "epochs", "learning_rate", "schedule", "batch_size", "max_length"}
        | {"weight_decay", "warmup_steps", "data", "ratio", "expert", "reference", "w_attn"},
        "stronger-teachers": {
            "data",
            "epochs",
            "learning_rate",
            "schedule",
            "warmup_steps",
            "batch_size",
            "max_length",
        },
    }
    for name, keys in stated.items():
        pipeline = (RECIPES / f"{name}.yaml").read_text().partition("\ntrain:\n")[2].partition("\nevaluate:")[0]
        for line in pipeline.splitlines():
            key, colon, value = line.strip().partition(": ")
            if colon and not line.lstrip().startswith(("-", "#")) and key not in keys:
                assert "# our choice" in value, f"{name}: {line.strip()}"
