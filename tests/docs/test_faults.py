"""Every test that the fault matrix names is there."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
MATRIX = (ROOT / "docs/faults.md").read_text()
ROWS = [line for line in MATRIX.splitlines() if line.startswith("| ") and not line.startswith("| fault |")]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def functions(file: str) -> set[str]:
    nodes = ast.parse((ROOT / file).read_text()).body
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_row_names_a_test_that_exists() -> None:
    assert len(ROWS) > 50
    for row in ROWS:
        fault, happens, tests = (cell.strip() for cell in row.strip("|").split("|"))
        assert fault
        assert happens
        named = NAMED.findall(tests)
        assert named, f"no test is named: {row}"
        for file, function in named:
            assert function.startswith("test_")
            assert function in functions(file), f"{file}::{function}"


def test_no_fault_is_in_it_twice() -> None:
    faults = [row.split("|")[1].strip() for row in ROWS]
    assert len(faults) == len(set(faults))


def test_the_readme_links_to_it() -> None:
    assert "(docs/faults.md)" in (ROOT / "README.md").read_text()
