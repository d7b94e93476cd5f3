"""One run of the `lm_eval` package on a model, inside this process and without a trace in it."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from harness.bench.api import Measured
from harness.bench.lm_eval.how import How
from harness.bench.lm_eval.tasks import Chosen, Config
from harness.core.errors import HarnessError
from harness.generate.api import Ending

Data = Mapping[str, Mapping[str, Path]]
"""Task -> split -> file."""
_SPLITS = ("training_split", "validation_split", "test_split", "fewshot_split")
_COMMANDS_SEEDS = (0, 1234, 1234, 1234)
"""Python's, numpy's, torch's and the few-shot draw's, as the command has them."""
_KINDS = {".json": "json", ".jsonl": "json", ".parquet": "parquet", ".csv": "csv"}


@dataclass(frozen=True)
class Outcome:
    """What lm-eval found."""

    samples: Mapping[str, list[dict[str, Any]]]
    """Its sample rows by task."""
    tasks: Mapping[str, list[str]]
    """The tasks of everything asked."""
    endings: Mapping[str, Ending]
    """How each generated text ended, by its request's `request_key`."""


def evaluate(chosen: Chosen, data: Data, how: How, model: Measured) -> list[Outcome]:
    """Run the tasks, as often as `how` says, and write `results_*.json` and `samples_*.jsonl` to `model.out`.

    A repeat differs in torch's seed alone, one more each time; from the second on its files are in `repeat_K`.

    Raises:
        HarnessError: data that is not here, a task that would run code of the model's.
    """
    from harness.bench.lm_eval.model import load
    from harness.train.run import random_state_kept

    with tempfile.TemporaryDirectory() as folder, _environment_kept(), random_state_kept():
        write_tasks(chosen, data, Path(folder))
        manager = _manager(Path(folder))
        endings: dict[str, Ending] = {}
        lm, outcomes = load(model, how, endings), []
        for repeat in range(how.repeats):
            out = model.out / f"repeat_{repeat}" if repeat else model.out
            out.mkdir(exist_ok=True)
            loaded, tasks = _load(chosen, manager)
            samples = _run(lm, loaded, manager, how, replace(model, out=out), repeat)
            outcomes.append(Outcome(samples, tasks, dict(endings)))
        return outcomes


def write_tasks(chosen: Chosen, data: Data, folder: Path) -> None:
    """A YAML file for every task and group, which includes its own; with local data where there is some.

    lm-eval then need not read its 14,000 files, and a task keeps all but its data.

    Raises:
        HarnessError: the data lacks the split that is evaluated, or is for no task that runs.
    """
    if strange := sorted(set(data) - set(chosen.leaves)):
        raise HarnessError(
            f"data for '{strange[0]}', which is no task that runs",
            where="lm_eval: data_dir",
            fix=f"Tasks: {', '.join(list(chosen.leaves)[:10])}.",
        )
    for number, (name, path) in enumerate(chosen.files.items()):
        kind = "task" if name in chosen.leaves else "group"
        made: dict[str, Any] = {"include": str(path.resolve()), kind: name}
        if name in data:
            made |= _local(name, chosen.leaves[name], data[name], folder)
        (folder / f"{number}.yaml").write_text(yaml.safe_dump(made))


def _local(name: str, task: Config, files: Mapping[str, Path], folder: Path) -> dict[str, Any]:
    evaluated = task.get("test_split") or task.get("validation_split")
    kinds = {_kind(path) for path in files.values()}
    if evaluated not in files or len(kinds) != 1:
        raise HarnessError(
            f"the data of '{name}' lacks its split '{evaluated}', or is of several formats",
            where="lm_eval: data_dir",
            fix=f"Give a file for '{evaluated}' (here: {', '.join(files)}).",
        )
    return {
        "dataset_path": kinds.pop(),
        "dataset_name": None,
        "dataset_kwargs": {
            "data_files": {split: str(path.resolve()) for split, path in files.items()},
            "cache_dir": str(folder / "cache"),
        },
        **{key: task[key] if task.get(key) in files else None for key in _SPLITS if key in task},
    }


def _kind(path: Path) -> str:
    found = [_KINDS[suffix] for suffix in path.suffixes if suffix in _KINDS]
    if not found:
        raise HarnessError("not a data file that lm-eval reads", where=str(path), fix=f"Known: {', '.join(_KINDS)}.")
    return found[-1]


def _manager(folder: Path) -> Any:
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=str(folder), include_defaults=False)


def _load(chosen: Chosen, manager: Any) -> tuple[list[Any], dict[str, list[str]]]:
    """lm-eval's objects for everything asked, and the names of their tasks."""
    objects, tasks = [], {}
    for name in chosen.asked:
        try:
            loaded = manager.load([name])
        except (OSError, ValueError) as error:
            raise _unreachable(name, error) from error
        for task, made in loaded["tasks"].items():
            if getattr(made, "UNSAFE_CODE", False) or made.config.unsafe_code:
                raise HarnessError(f"the task '{task}' runs code that a model wrote", where="lm_eval", fix="Drop it.")
        objects.append(loaded["groups"].get(name) or loaded["tasks"][name])
        tasks[name] = list(loaded["tasks"])
    return objects, tasks


def _unreachable(name: str, error: Exception) -> HarnessError:
    first = (str(error).strip().splitlines() or [""])[0][:200]
    return HarnessError(
        f"the data of the task '{name}' cannot be loaded ({type(error).__name__}: {first})",
        where="lm_eval",
        fix="Without a network, give its files in the hub's schema: `data_dir: {TASK: {SPLIT: FILE}}`, or a folder of "
        "TASK_SPLIT.jsonl files.",
    )


def _run(
    lm: Any, tasks: list[Any], manager: Any, how: How, model: Measured, repeat: int
) -> dict[str, list[dict[str, Any]]]:
    """lm-eval's sample rows by task."""
    from lm_eval import simple_evaluate
    from lm_eval.loggers import EvaluationTracker

    tracker = EvaluationTracker(output_path=str(model.out / "results.json"))
    seeds = _COMMANDS_SEEDS if how.seed is None else (how.seed,) * 4
    results = simple_evaluate(
        lm,
        model_args={"pretrained": str(model.folder), "dtype": model.dtype},
        tasks=tasks,
        task_manager=manager,  # without one it reads all of its files
        batch_size=model.batch_size,
        num_fewshot=how.num_fewshot,
        limit=how.limit,
        gen_kwargs=dict(how.gen_kwargs) or None,
        evaluation_tracker=tracker,
        apply_chat_template=how.apply_chat_template,
        fewshot_as_multiturn=how.apply_chat_template,
        random_seed=seeds[0],
        numpy_random_seed=seeds[1],
        torch_random_seed=seeds[2] + repeat,
        fewshot_random_seed=seeds[3],
    )
    samples: dict[str, list[dict[str, Any]]] = results.pop("samples")
    tracker.save_results_aggregated(results=results, samples=samples)
    for name in results["configs"]:
        tracker.save_results_samples(task_name=name, samples=samples[name])
    if len(list(model.out.glob("samples_*.jsonl"))) != len(samples) or not list(model.out.glob("results_*.json")):
        raise RuntimeError("lm-eval could not write its files")  # it only logs that
    return samples


@contextmanager
def _environment_kept() -> Iterator[None]:
    """lm-eval sets variables at import, and its bootstrap for metrics that are no means starts a process per core."""
    before = dict(os.environ)
    os.environ["DISABLE_MULTIPROC"] = "1"
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)
