"""A cell's model, taken away: its weights as a Hugging Face folder with a card, its recipe and where it comes from."""

import importlib.metadata
import json
import re
import shutil
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

from harness.api.opened import Run
from harness.api.recipes import load_recipe
from harness.api.stored import model_of, row_of
from harness.core.errors import HarnessError
from harness.core.hub import explained
from harness.models import refs
from harness.models.refs import model_files, of_run
from harness.recipe.load import Recipe
from harness.record.folder import PlannedRow
from harness.report.groups import single
from harness.report.measure import NOT_RANKED, Measures
from harness.report.model_card import Source, eval_results, model_card
from harness.store.store import Store

BEST = "best"


def export_cell(run: Run, cell: str, folder: str | Path, *, results: str | Path, metric: str = "") -> Path:
    """Write a cell's model into `folder`, which must be new or empty; returns it.

    `cell` is a cell's name, or `best`: the trained cell with the best mean of `metric`. Beside the weights lie a model
    card (README.md) with scores and intervals, `recipe.yaml`, `provenance.json`, and `.eval_results/harness.yaml` with
    the scores that the hub files under a dataset.

    Raises:
        HarnessError: no such cell or metric; its model was there before the run, was evicted, or is not made yet.
    """
    out = Path(folder)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise HarnessError("is there already, and not empty", where=str(out), fix="Name a new folder.")
    chosen = row_of(run.folder, best_cell(run, metric) if cell == BEST else cell)
    model = model_of(chosen, Store(Path(results) / "store"))
    record = next(c for c in run.data.cells if c.cell == chosen.cell)
    with run.with_plugins():
        recipe = load_recipe(run.folder / "recipe.yaml")
    card = model_card(run.data, record, list(_sources(recipe, chosen.cell)))
    out.mkdir(parents=True, exist_ok=True)
    for file in model_files(model):
        shutil.copyfile(file, out / file.name)
    (out / "README.md").write_text(card, encoding="utf-8")
    shutil.copyfile(run.folder / "recipe.yaml", out / "recipe.yaml")
    (out / "provenance.json").write_text(_provenance(run, chosen), encoding="utf-8")
    if results_of_hub := eval_results(run.data, record):
        (out / ".eval_results").mkdir()
        (out / ".eval_results" / "harness.yaml").write_text(results_of_hub, encoding="utf-8")
    return out


def push(folder: Path, repository: str) -> str:
    """Put an exported folder on the Hugging Face hub, as one commit of `ORG/NAME`, which is made if it is not there;
    returns the commit's address.

    Raises:
        HarnessError: there is no token, it may not write there, or the hub cannot be reached.
    """
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError

    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise HarnessError("is no name of a repository", where=repository, fix="Write --push ORG/NAME.")
    if get_token() is None:
        raise HarnessError("the hub wants a token", where=repository, fix="Set HF_TOKEN to a token that may write.")
    hub = HfApi()
    with explained(repository, f"The folder is complete ({folder}): run `hf upload {repository} {folder}` later."):
        try:
            hub.create_repo(repository, exist_ok=True)
            commit = hub.upload_folder(
                repo_id=repository, folder_path=folder, commit_message="A cell of an ablation, exported by harness"
            )
        except HfHubHTTPError as error:
            if error.response.status_code not in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
                raise
            fix = "Set HF_TOKEN to a token that may write to it."
            raise HarnessError("the token may not write there", where=repository, fix=fix) from None
    return str(commit.commit_url)


def best_cell(run: Run, metric: str) -> str:
    """The trained cell with the best mean of a headline metric, among those that are ranked.

    Raises:
        HarnessError: the run has no such metric, or no trained cell that is ranked by it.
    """
    known = [m for m in run.data.metrics if m.headline]
    asked = [m for m in known if metric in (m.metric, f"{m.benchmark}.{m.metric}")]
    if len(asked) != 1:
        names = ", ".join(f"{m.benchmark}.{m.metric}" for m in known)
        what = f"several metrics are called {metric}" if asked else f"no metric is called {metric or '(none given)'}"
        raise HarnessError(what, where="--metric", fix=f"Choose from {names}.")
    measures, (chosen,) = Measures(run.data), asked
    values = {
        c.cell: e.value
        for c in run.data.cells
        if not c.baseline
        and (e := measures.estimate(single(c), chosen)) is not None
        and e.value is not None
        and not NOT_RANKED & set(e.marks)
    }
    if not values:
        raise HarnessError("no trained cell is ranked by this metric", where=metric)
    return (max if chosen.direction == "higher" else min)(values, key=values.__getitem__)


def _sources(recipe: Recipe, name: str) -> Iterator[Source]:
    """What a cell was made from, by role."""
    cell = next(cell for cell in recipe.cells if cell.name == name)
    settings, teacher = cell.settings, cell.settings.teacher
    bases = {key: made.base for key, made in settings.models.items()}
    models = {"student": settings.student.model, "teacher": teacher.model if teacher is not None else None}
    for role, reference in models.items():
        if reference is not None:
            yield Source(role, reference, licence(_base(reference, bases)))
    data = {f"data {role}": settings.data.role(role) for role in ("train", *settings.data.domain_names, "prompts")}
    data["teacher's responses"] = teacher.recorded if teacher is not None else None
    for role, dataset in data.items():
        if dataset is not None:
            yield Source(role, dataset.name if dataset.pocket is None else "the pocket world (made here)", "")


def _base(reference: str, bases: dict[str, str]) -> str:
    """What a model of the recipe's own was made from in the end."""
    while reference.startswith("artifact:") and not of_run(reference):
        reference = bases[reference.removeprefix("artifact:")]
    return reference


def licence(reference: str) -> str:
    """A model's licence as what is at hand states it: an installed package, or the card in its folder."""
    ref = refs.parse(reference)
    if ref.scheme == "pypi":
        stated = importlib.metadata.metadata(ref.value).json
        return str(stated.get("license_expression") or stated.get("license") or "")
    if ref.scheme == "pocket":
        return "made here from a seed"
    card = Path(ref.value) / "README.md" if ref.scheme == "path" else None
    if card is None or not card.is_file():
        return ""
    from huggingface_hub import ModelCard

    return str(ModelCard.load(card, ignore_metadata_errors=True).data.license or "")


def _provenance(run: Run, row: PlannedRow) -> str:
    data = run.data
    facts = {"run": data.name, "cell": row.cell, "created": data.created, "command": data.command, "stage": row.model}
    rest = {"git": data.git, "versions": data.versions, "hardware": data.hardware}
    return json.dumps(facts | rest, indent=1, ensure_ascii=False, default=dict) + "\n"
