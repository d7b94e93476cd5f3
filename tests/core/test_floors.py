"""The house: a room imports only rooms below it, no files import each other in a circle, and the command line starts
without torch."""

import ast
import re
import subprocess
import sys
from collections.abc import Set
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import harness

ROOT = Path(harness.__file__).parent
FLOORS = [
    {"cli"},
    {"api"},
    {"report", "run", "doctor"},
    {"record"},
    {"calibration"},
    {"plan"},
    {"recipe"},
    {"stages"},
    {"bench", "teachers"},
    {"judge"},
    {"train"},
    {"generate"},
    {"models"},
    {"data"},
    {"store"},
    {"stats"},
    {"core"},
]
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}


def imports(root: Path) -> dict[str, set[str]]:
    """Module -> modules of the package `root` that its file imports.

    Imports inside functions and for types alone count too: who reads the file has to know the other one. What is found
    by name while the program runs (`core.discover`, a child process's `-m`) does not.
    """
    files = {".".join([root.name, *path.relative_to(root).with_suffix("").parts]): path for path in root.rglob("*.py")}
    files = {module.removesuffix(".__init__"): path for module, path in files.items()}
    return {module: _imported(path, files.keys()) - {module} for module, path in files.items()}


def _imported(path: Path, modules: Set[str]) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import: write it out"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= inner & modules or {str(node.module)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names & modules


def circle(root: Path) -> list[str]:
    """The modules of a circle of imports, the first one last again; empty where there is none."""
    try:
        TopologicalSorter(imports(root)).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found
    return []


IMPORTS = imports(ROOT)


def test_the_companion_packages_are_never_imported() -> None:
    """They stand on the harness and reach it by entry points; to it they are as a user's package."""
    names = re.compile(r"\bharness_papers\b")
    assert [str(path) for path in ROOT.rglob("*.py") if names.search(path.read_text())] == []


@pytest.mark.parametrize("module", sorted(IMPORTS))
def test_imports_go_down(module: str) -> None:
    _, room, *_ = [*module.split("."), ""]
    if not room:
        return
    assert room in LEVEL, f"{room} has no floor: name it in ARCHITECTURE.md and here"
    for other in IMPORTS[module] - {"harness"}:
        level = LEVEL[other.split(".")[1]]
        assembles = room == "recipe" and other.endswith(".settings")  # of every room the schema is put together
        assert level > LEVEL[room] or other.split(".")[1] == room or assembles, (
            f"{module} imports {other}: {'beside' if level == LEVEL[room] else 'above'} it"
        )


def test_no_files_import_each_other_in_a_circle() -> None:
    assert circle(ROOT) == []


@pytest.mark.parametrize("module", sorted(IMPORTS))
def test_names_of_files_say_who_imports_them(module: str) -> None:
    package = module.rpartition(".")[0]
    for other in IMPORTS[module]:
        parent, _, name = other.rpartition(".")
        assert not name.startswith("_") or parent == package, f"{module} imports {other}, which is its package's own"
        assert not name.endswith("_child"), f"{module} imports {other}, which is a process"


@pytest.mark.parametrize(
    "back",
    [
        "import rooms.a",
        "from rooms import a",
        "from rooms.a import thing",
        "def late():\n    from rooms.a import thing",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from rooms.a import thing",
    ],
)
def test_a_circle_is_seen(tmp_path: Path, back: str) -> None:
    root = tmp_path / "rooms"
    root.mkdir()
    for module, text in {"__init__": "", "a": "from rooms import b\nthing = 1", "b": "import rooms.c", "c": ""}.items():
        (root / f"{module}.py").write_text(text)
    assert circle(root) == []
    (root / "c.py").write_text(back)
    assert sorted(set(circle(root))) == ["rooms.a", "rooms.b", "rooms.c"]


def test_an_import_inside_a_function_is_seen() -> None:
    assert "harness.train.run" in IMPORTS["harness.stages.train"]


@pytest.mark.parametrize(
    ("modules", "slow"),
    [
        ("harness.cli", ("torch", "pandas", "pydantic", "numpy")),
        (
            "harness.cli, harness.run.execute, harness.plan.estimate, harness.recipe.load",
            ("torch", "openai", "scipy.stats"),
        ),
    ],
)
def test_command_line_starts_without_what_is_slow_to_import(modules: str, slow: tuple[str, ...]) -> None:
    code = f"import sys, {modules}; print([name for name in {slow} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
