"""Plug-ins: what a user's own code adds, in files that a variable names, and in installed packages (entry points).

The variable HARNESS_PLUGINS is all the state there is: processes that this one starts have it too.
"""

import importlib.metadata
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.core.canonical import Json, file_digest
from harness.core.errors import HarnessError, brief

GROUPS = {
    "BENCHMARK": "harness.benchmarks",
    "STEP": "harness.steps",
    "SCORE": "harness.teacher_scores",
    "FORM": "harness.verdict_forms",
    "ENGINE": "harness.engines",
}
"""What a file exports, and the entry-point group of a package that has the same."""
VARIABLE = "HARNESS_PLUGINS"


@dataclass(frozen=True, eq=False)
class Plugin:
    """One thing that a plug-in adds; another object once its file has changed."""

    entry: Any
    file: Path
    digest: str
    """SHA-256 of the file."""
    package: str = ""
    """`name version` of the distribution; empty for a file that the user named."""

    @property
    def where(self) -> str:
        """For messages."""
        return f"{self.file} ({self.package})" if self.package else str(self.file)

    @property
    def identity(self) -> dict[str, Json]:
        """What tells it from another version of itself: part of the identity of each stage that uses it."""
        return {"digest": self.digest} | ({"package": self.package} if self.package else {})


def plugins(attribute: str) -> tuple[Plugin, ...]:
    """Everything that plug-ins add under the name `attribute`.

    Raises:
        HarnessError: a plug-in cannot be loaded, or exports nothing that the harness knows.
    """
    named = [_exports(file, _digest(file)) for file in named_files()]
    found = [exports[attribute] for exports in named if attribute in exports]
    return (*found, *(_entry_points(GROUPS[attribute]) if attribute in GROUPS else ()))


def named_files() -> tuple[Path, ...]:
    """The files that the variable names."""
    return tuple(Path(name) for name in os.environ.get(VARIABLE, "").split(os.pathsep) if name)


def name_files(files: Iterable[Path]) -> None:
    """Have the variable name these files and no others."""
    os.environ[VARIABLE] = os.pathsep.join(map(str, files))


@contextmanager
def plugged(files: Sequence[Path]) -> Iterator[tuple[Path, ...]]:
    """While it lasts, the variable names these files beside those that it names already; yields all of them."""
    before = os.environ.get(VARIABLE)
    every = tuple(dict.fromkeys([*named_files(), *(Path(os.path.abspath(file)) for file in files)]))
    name_files(every)
    try:
        yield every
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


def _digest(file: Path) -> str:
    try:
        return file_digest(file)
    except OSError as error:
        fix = f"Name it by --plugins FILE.py or in {VARIABLE}."
        raise HarnessError(f"no such plug-in ({error.strerror})", where=str(file), fix=fix) from None


@cache
def _exports(file: Path, digest: str) -> Mapping[str, Plugin]:
    """What a file exports. It is read again when its content has changed."""
    module = _imported(file, f"harness_plugin_{file.stem}_{digest[:12]}")
    found = {name: Plugin(getattr(module, name), file, digest) for name in GROUPS if hasattr(module, name)}
    if not found:
        raise HarnessError(f"exports none of {', '.join(GROUPS)}", where=str(file), fix="See docs/extensions.md.")
    return found


def _imported(file: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise HarnessError("is no Python file", where=str(file), fix="A plug-in's name ends with .py.")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)  # dataclasses and pydantic look for it there
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the user's code can fail in any way
        del sys.modules[name]
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
        line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
        where = f"{file}:{line}" if line else str(file)
        what = f"the plug-in cannot be imported ({type(error).__name__}: {brief(error)})"
        raise HarnessError(what, where=where, fix=f"`python {file}` shows where it fails.") from error
    return module


@cache
def _entry_points(group: str) -> tuple[Plugin, ...]:
    return tuple(load(point) for point in importlib.metadata.entry_points(group=group))


def load(point: importlib.metadata.EntryPoint) -> Plugin:
    """What an entry point names.

    Raises:
        HarnessError: it cannot be loaded.
    """
    package = f"{point.dist.name} {point.dist.version}" if point.dist is not None else ""
    try:
        entry = point.load()
        file = Path(str(importlib.import_module(point.module).__file__))
    except Exception as error:  # the user's code can fail in any way
        what = (
            f"the entry point '{point.name} = {point.value}' cannot be loaded ({type(error).__name__}: {brief(error)})"
        )
        fix = f"Mend or remove the package ({package})."
        raise HarnessError(what, where=point.group, fix=fix) from error
    return Plugin(entry, file, file_digest(file), package)
