"""Datasets of the Hugging Face hub and folders of shards: which files make up a split.

The `datasets` package knows how repositories name their configs and splits. It is shown a tree of empty files with the
repository's names, so that hub, cache and local folders follow the same rules and only the files of the split are
downloaded. A revision's list of files is noted beside the hub's cache, and read there offline.
"""

import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.core.absent import absent_allowed, may_be_absent
from harness.core.errors import HarnessError, brief, printable
from harness.core.hub import Unreachable, explained
from harness.core.lines import write_atomically
from harness.data.settings import DatasetSettings, FilesSettings

_CARD = "README.md"
_SAVED, _SAVED_SPLITS = "state.json", "dataset_dict.json"
"""Files that `Dataset.save_to_disk` and `DatasetDict.save_to_disk` write to a folder."""


Files = Mapping[str, Sequence[Path]]
"""The files of a dataset, in order, by the roles of `DatasetSettings.sources`."""


class Absent(HarnessError):
    """The data are not on this machine, and nothing is downloaded for a plan that is only looked at."""


def is_here(settings: DatasetSettings) -> bool:
    """Whether every file that the settings name is on this machine; nothing is downloaded."""
    with absent_allowed():
        try:
            return all(file.exists() for files in source_files(settings).values() for file in files)
        except Absent:
            return False


def source_files(settings: DatasetSettings) -> Files:
    """The files of every source that the settings name."""
    return {role: data_files(source) for role, source in settings.sources.items()}


def data_files(settings: FilesSettings) -> list[Path]:
    """The files that settings name, in order: a file, the matches of a glob, or the files of a split.

    A dataset of the hub is downloaded to the hub's cache, unless the plan is only looked at.

    Raises:
        Absent: the plan is only looked at, and the data are not here.
        HarnessError: no such files, config or split; the hub refuses, or cannot be reached.
    """
    if settings.hf is not None:
        return _hub_files(settings)
    assert settings.path is not None, "settings name a path or a dataset of the hub"
    path = settings.path
    if path.is_dir():
        return _folder_files(path, settings)
    if any(sign in path.name for sign in "*?[") and not path.exists():
        if matches := sorted(match for match in path.parent.glob(path.name) if match.is_file()):
            return matches
        kind = Absent if may_be_absent() else HarnessError
        raise kind("no file matches", where=str(path), fix="Check the path in the recipe.")
    return [path]


def _folder_files(folder: Path, settings: FilesSettings) -> list[Path]:
    if (folder / _SAVED_SPLITS).is_file():
        splits = json.loads((folder / _SAVED_SPLITS).read_text())["splits"]
        folder = folder / _chosen(dict.fromkeys(splits), settings)
    if (folder / _SAVED).is_file():
        state = json.loads((folder / _SAVED).read_text())
        return [folder / file["filename"] for file in state["_data_files"]]
    names = [file.relative_to(folder).as_posix() for file in sorted(folder.rglob("*")) if file.is_file()]
    card = folder / _CARD
    return [folder / name for name in _split_files(names, card if card.is_file() else None, settings)]


@dataclass(frozen=True)
class _Listing:
    """The files of a revision of a repository."""

    commit: str
    files: Sequence[str]


def _hub_files(settings: FilesSettings) -> list[Path]:
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    repository, listing = str(settings.hf), _listing(settings)

    def local(name: str) -> Path:
        cached = try_to_load_from_cache(repository, name, repo_type="dataset", revision=listing.commit)
        if isinstance(cached, str):
            return Path(cached)
        if may_be_absent():
            raise Absent("is not here", where=settings.name)
        with explained(settings.name, _elsewhere(repository)):
            return Path(hf_hub_download(repository, name, repo_type="dataset", revision=listing.commit))

    card = local(_CARD) if _CARD in listing.files else None
    return [local(name) for name in _split_files(listing.files, card, settings)]


def _listing(settings: FilesSettings) -> _Listing:
    """The hub's list of the revision's files; if the hub cannot be reached, the noted list."""
    from huggingface_hub import HfApi, constants

    note = _note(settings)
    noted = _Listing(**json.loads(note.read_text())) if note.exists() else None
    if noted is not None and (may_be_absent() or constants.HF_HUB_OFFLINE):
        return noted
    if may_be_absent():
        raise Absent("is not here", where=settings.name)
    try:
        with explained(settings.name, _elsewhere(str(settings.hf))):
            info = HfApi().dataset_info(str(settings.hf), revision=settings.revision)
    except Unreachable:
        if noted is None:
            raise
        return noted
    listing = _Listing(str(info.sha), sorted(file.rfilename for file in info.siblings or ()))
    note.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(note, json.dumps(vars(listing), indent=1) + "\n")
    return listing


def _note(settings: FilesSettings) -> Path:
    from huggingface_hub import constants

    name = f"{settings.hf}@{settings.revision or 'main'}".replace("/", "--")
    return Path(constants.HF_HOME) / "harness" / "datasets" / f"{name}.json"


def _split_files(names: Iterable[str], card: Path | None, settings: FilesSettings) -> list[str]:
    """The names of the files that make up the split."""
    from datasets import load_dataset_builder
    from datasets.exceptions import DatasetsError

    names = list(names)
    if strange := [name for name in names if Path(name).is_absolute() or ".." in Path(name).parts]:
        raise HarnessError(f"has files outside of itself: {_listed(strange)}", where=settings.name)
    with tempfile.TemporaryDirectory() as new:
        tree = Path(new) / "tree"
        for name in names:
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).touch()
        if card is not None:
            (tree / _CARD).write_bytes(card.read_bytes())
        tree.mkdir(exist_ok=True)
        try:
            builder = load_dataset_builder(
                str(tree),
                name=settings.config,
                data_files=list(settings.data_files) or None,
                cache_dir=str(Path(new) / "cache"),
            )
        except (DatasetsError, ValueError, FileNotFoundError) as error:
            raise _no_files(error, names, tree, settings) from None
        files = builder.config.data_files or {}
        split = _chosen({str(split): None for split in files}, settings)
        chosen = [Path(os.path.relpath(file, tree)).as_posix() for file in files[split]]
    if strange := sorted(set(chosen) - set(names)):  # a card may name any path or address
        raise HarnessError(f"its card names files that are not its own: {_listed(strange)}", where=settings.name)
    return chosen


def _no_files(error: Exception, names: Sequence[str], tree: Path, settings: FilesSettings) -> HarnessError:
    """The error that no split of the config has files, with the names that exist instead."""
    from datasets import get_dataset_config_names

    if settings.data_files:
        fix = f"Files there: {_listed(names)}."
        return HarnessError(f"no file is called {', '.join(settings.data_files)}", where=settings.name, fix=fix)
    if scripts := [name for name in names if name.endswith(".py")]:
        return HarnessError(
            f"the dataset is made by a script of its own ({scripts[0]}), and such a script is not run",
            where=settings.name,
            fix="Take the hub's conversion: `revision: refs/convert/parquet`.",
        )
    try:
        configs = get_dataset_config_names(str(tree))
    except Exception:  # the same fault again, whose message follows
        return HarnessError(
            "holds no data files of a kind that is read", where=settings.name, fix=f"It holds: {_listed(names)}."
        )
    if len(configs) == 1 or settings.config in configs:
        return HarnessError(f"its files cannot be told ({brief(error)})", where=settings.name)
    what = f"has no config '{settings.config}'" if settings.config else "has several configs"
    return HarnessError(what, where=settings.name, fix=f"Choose `config:` from {', '.join(configs)}.")


def _chosen(splits: Mapping[str, object], settings: FilesSettings) -> str:
    """The split of the settings; by default `train`, or the only split."""
    name = settings.split or ("train" if "train" in splits or len(splits) != 1 else next(iter(splits)))
    if name not in splits:
        what = f"has no split '{name}'"
        raise HarnessError(what, where=settings.name, fix=f"Choose `split:` from {', '.join(splits) or 'nothing'}.")
    return name


def _listed(names: Sequence[str]) -> str:
    return printable(", ".join(names[:10])) + (", ..." if len(names) > 10 else "")


def _elsewhere(repository: str) -> str:
    return (
        f"On a machine with a network run `hf download --repo-type dataset {repository}`, copy the folder here and "
        "name it `path:`, or point HF_HOME at a cache that holds it."
    )
