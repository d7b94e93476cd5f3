"""lm-eval's tasks by name, read from their YAML files: importing the package would import torch."""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from harness.core.errors import HarnessError

OWN = Path(__file__).parent / "data"
"""Tasks that come with us."""
Config = Mapping[str, Any]
_TOP = re.compile(r"^[\"']?(group|task|tag|include|class)[\"']?[ \t]*:[ \t]*(.*(?:\n[ \t]*-[^\n]*)*)", re.MULTILINE)
BITS_PER_BYTE = "gold_bits_per_byte"
"""-log2 of the likelihood of a question's right answer, for each of its bytes (arXiv 2508.13144)."""
_MEANS = ("acc", "acc_norm", "acc_mutual_info", "acc_bytes", "exact_match", "likelihood")
"""Metrics that lm-eval averages unless a task says otherwise."""
_BY_OUTPUT = {
    "multiple_choice": ("acc", "acc_norm"),
    "generate_until": ("exact_match",),
    "loglikelihood": ("perplexity", "acc"),
    "loglikelihood_rolling": ("word_perplexity", "byte_perplexity", "bits_per_byte"),
}
"""Metrics of a task that lists none."""


@dataclass(frozen=True)
class Reported:
    """A number that lm-eval prints for one task or group, and what it is called here."""

    name: str
    asked: str
    """The task or group."""
    metric: str
    filter: str
    higher: bool


@dataclass(frozen=True)
class Catalogue:
    """Where tasks and groups are defined, and the tasks of each tag."""

    files: Mapping[str, Path]
    tags: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Chosen:
    """What a list of names stands for."""

    asked: tuple[str, ...]
    """Tasks, and groups that have scores of their own; tags and other groups are replaced by what they hold."""
    leaves: Mapping[str, Config]
    """Every task that runs."""
    files: Mapping[str, Path]
    """Every task and group that is needed, by name."""
    reported: tuple[Reported, ...]


def choose(names: Sequence[str], include: Path | None) -> Chosen:
    """Look the names up: in `include`, among ours, then in the package.

    Raises:
        HarnessError: no such task (the nearest names are told), one that is named twice, one without a metric that is a
            mean over items; the package is needed and not installed.
    """
    return _choose(tuple(names), include)


@lru_cache(maxsize=16)
def _choose(names: tuple[str, ...], include: Path | None) -> Chosen:
    near = (OWN, include) if include is not None else (OWN,)
    try:
        return _resolve(names, catalogue(near))
    except KeyError:
        known = catalogue((package() / "tasks", *near))
    try:
        return _resolve(names, known)
    except KeyError as error:
        raise _unknown(error.args[0], known) from None


def reported(chosen: Chosen, *, likelihood: bool) -> list[Reported]:
    """The numbers of what was chosen; with `likelihood` one more after those of each that has an accuracy."""
    out: dict[str, list[Reported]] = {}
    for one in chosen.reported:
        out.setdefault(one.asked, []).append(one)
    for asked, numbers in out.items() if likelihood else ():
        if acc := next((one for one in numbers if one.metric == "acc"), None):
            numbers.append(
                replace(acc, name=_name(asked, BITS_PER_BYTE, acc.filter), metric=BITS_PER_BYTE, higher=False)
            )
    return [one for numbers in out.values() for one in numbers]


def package() -> Path:
    """The folder of the installed package."""
    spec = find_spec("lm_eval")  # finds it without importing it
    if spec is None or spec.origin is None:
        raise HarnessError(
            "the package lm-eval is not installed", where="lm_eval", fix="pip install 'harness[lm-eval]'"
        )
    return Path(spec.origin).parent


@lru_cache(maxsize=8)
def catalogue(folders: tuple[Path, ...]) -> Catalogue:
    """The tasks, groups and tags of folders of YAML files; what comes later wins, as in lm-eval."""
    files: dict[str, Path] = {}
    tags: dict[str, set[str]] = {}
    for folder in folders:
        own: dict[str, Path] = {}
        for path in sorted(folder.rglob("*.yaml"), key=Path.as_posix):
            top = _top(path)
            group = [] if "class" in top else top.get("group", [])  # a task in Python may name both
            name = (group or top.get("task") or [""])[0]
            if name and name not in own:
                own[name] = path
                for tag in [] if group else _tags(path):
                    tags.setdefault(tag, set()).add(name)
        files |= own
    return Catalogue(files, {tag: sorted(tasks) for tag, tasks in tags.items()})


def _top(path: Path) -> dict[str, list[str]]:
    """The few keys that name a file, by a regular expression: there are 14,000 files."""
    return {key: _words(value) for key, value in _TOP.findall(path.read_text(encoding="utf-8"))}


def _words(value: str) -> list[str]:
    if value.lstrip().startswith(("-", "[", "#")) or not value.strip():
        return re.findall(r"[^\s,\[\]\"']+", re.sub(r"#.*|^\s*-", "", value, flags=re.MULTILINE))
    return [value.split(" #")[0].split("\n")[0].strip().strip("\"'")]


def _tags(path: Path) -> list[str]:
    top = _top(path)
    if "tag" in top or "include" not in top:
        return top.get("tag", [])
    included = [path.parent / name for name in top["include"]]
    return [tag for file in included if file.is_file() for tag in _tags(file)]


class _Loader(yaml.SafeLoader):
    """Names of functions as text, and nothing called."""


def _function(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> str:
    return str(loader.construct_scalar(node)).rpartition(".")[2]


_Loader.add_constructor("!function", _function)


def config(path: Path) -> dict[str, Any]:
    """What a YAML file says with the files it includes; functions are their names."""
    own: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a safe loader
    merged: dict[str, Any] = {}
    includes = own.pop("include", [])
    for name in [includes] if isinstance(includes, str) else includes:
        merged |= config(path.parent / name)
    return merged | own


def _resolve(names: Sequence[str], known: Catalogue) -> Chosen:
    """KeyError with the first name that is unknown."""
    asked = tuple(dict.fromkeys(unit for name in names for unit in _units(name, known)))
    leaves: dict[str, Config] = {}
    files: dict[str, Path] = {}
    reported: list[Reported] = []
    for unit in asked:
        own = dict(_walk(unit, known, files))
        if twice := sorted(set(own) & set(leaves)):
            raise HarnessError(
                f"the task '{twice[0]}' is asked for twice, by '{unit}' and by another",
                where="lm_eval: tasks",
                fix="Name it once: a group's scores show each of its tasks.",
            )
        leaves |= own
        reported += _reported(unit, config(known.files[unit]), list(own.values()))
    return Chosen(asked, leaves, files, tuple(reported))


def _units(name: str, known: Catalogue) -> Iterator[str]:
    """A task or a group with scores of its own as it is, anything else as its parts."""
    if name not in known.files and name in known.tags:
        yield from known.tags[name]
        return
    own = config(known.files[name])
    if isinstance(own.get("task"), list) and not own.get("aggregate_metric_list"):
        for member in own["task"]:
            yield from _units(member if isinstance(member, str) else member.get("group") or member["task"], known)
    else:
        yield name


def _walk(item: str | Config, known: Catalogue, files: dict[str, Path]) -> Iterator[tuple[str, Config]]:
    """The tasks under a task, tag or group; `files` is told the named ones. A group may define members in place."""
    name: str = item if isinstance(item, str) else item.get("group") or item["task"]
    own: Config = {} if isinstance(item, str) else item
    if name in known.files:
        files[name] = known.files[name]
        own = config(known.files[name]) | {k: v for k, v in own.items() if k not in ("task", "group")}
    elif name in known.tags:
        for tagged in known.tags[name]:
            yield from _walk(tagged, known, files)
        return
    elif isinstance(item, str):
        raise KeyError(name)
    if isinstance(own.get("task"), list):
        for member in own["task"]:
            yield from _walk(member, known, files)
    else:
        yield name, own


def _reported(asked: str, own: Config, leaves: Sequence[Config]) -> list[Reported]:
    means = [entry for leaf in leaves for entry in _means(leaf)]
    if isinstance(own.get("task"), list):
        means = [
            (entry["metric"] + ("" if entry.get("weight_by_size", True) else MACRO), kept, higher)
            for entry in own["aggregate_metric_list"]
            for metric, kept, higher in dict.fromkeys(means)
            if metric == entry["metric"] and kept in (entry.get("filter_list") or [kept])
        ]
    if not means:
        others = ", ".join(name for leaf in leaves for name, *_ in _metrics(leaf)) or "none that its YAML file tells"
        raise HarnessError(
            f"the task '{asked}' has no metric that is a mean over items (its metrics: {others})",
            where="lm_eval",
            fix="Leave it out; for likelihoods of texts there is the benchmark `nll`.",
        )
    return [Reported(_name(asked, m, f), asked, m.removesuffix(MACRO), f, h) for m, f, h in dict.fromkeys(means)]


MACRO = "_macro"
"""Ends the name of a group's metric that is the mean of its tasks' means, not of their items."""


def _name(asked: str, metric: str, kept: str) -> str:
    bare = metric.removesuffix(MACRO)
    parts = [asked, bare] + ([kept] if kept != "none" else [])
    return re.sub(r"[^\w.]", "_", "_".join(parts)) + metric[len(bare) :]


def _means(leaf: Config) -> list[tuple[str, str, bool]]:
    filters = [f["name"] for f in leaf.get("filter_list") or []] or ["none"]
    return [(name, kept, up) for name, how, up in _metrics(leaf) if how == "mean" for kept in filters]


def _metrics(leaf: Config) -> Iterator[tuple[str, str, bool]]:
    """(metric, how lm-eval combines items, whether higher is better)"""
    listed = leaf.get("metric_list")
    if listed is None and "class" not in leaf:
        listed = [{"metric": name} for name in _BY_OUTPUT.get(leaf.get("output_type", "generate_until"), ())]
    for entry in listed or []:
        how = entry.get("aggregation", "mean" if entry["metric"] in _MEANS else "other")
        yield entry["metric"], how, entry.get("higher_is_better", True)


def _unknown(name: str, known: Catalogue) -> HarnessError:
    near = difflib.get_close_matches(name, [*known.files, *known.tags], n=3)
    shown = f"Nearest names: {', '.join(near)}." if near else "`lm_eval ls tasks` lists them."
    return HarnessError(
        f"lm-eval has no task, group or tag '{name}'", where="lm_eval: tasks", fix=f"{shown} Own tasks: `include_path`."
    )
