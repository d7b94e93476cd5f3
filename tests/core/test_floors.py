"""The house: a room imports only rooms below it, and the command line starts without torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import harness

ROOT = Path(harness.__file__).parent
FLOORS = [
    {"cli"},
    {"papers"},
    {"report"},
    {"plan"},
    {"recipe"},
    {"stages"},
    {"bench", "teachers"},
    {"judge"},
    {"train", "generate"},
    {"models"},
    {"data"},
    {"store"},
    {"stats"},
    {"core"},
]
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}


def imports(path: Path) -> set[tuple[str, str]]:
    """(room, module) of every import of ours in a file, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "harness" and len(parts) > 1 and parts[1] in LEVEL:
                found.add((parts[1], parts[2] if len(parts) > 2 else ""))
    return found


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_imports_go_down(path: Path) -> None:
    relative = path.relative_to(ROOT)
    if len(relative.parts) == 1:
        return
    room = relative.parts[0]
    assert room in LEVEL, f"{room} has no floor: name it in ARCHITECTURE.md and here"
    for other, module in imports(path):
        same = LEVEL[other] == LEVEL[room]
        below = LEVEL[other] > LEVEL[room]
        assembles = room == "recipe" and module == "settings"  # the schema is put together from every room's settings
        assert below or other == room or assembles, (
            f"{relative} imports {other}.{module}: {'beside' if same else 'above'} it"
        )


@pytest.mark.parametrize(
    ("modules", "slow"),
    [
        ("harness.cli", ("torch", "pandas", "pydantic", "numpy")),
        (
            "harness.cli, harness.plan.execute, harness.plan.estimate, harness.recipe.load",
            ("torch", "openai", "scipy.stats"),
        ),
    ],
)
def test_command_line_starts_without_what_is_slow_to_import(modules: str, slow: tuple[str, ...]) -> None:
    code = f"import sys, {modules}; print([name for name in {slow} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
