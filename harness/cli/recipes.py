"""`harness recipes`: the recipes that ship."""

import importlib.metadata
import shutil
from pathlib import Path
from typing import Annotated

import typer

from harness.core.errors import HarnessError

app = typer.Typer(help="The recipes that ship: list them, copy one.", no_args_is_help=True)


@app.command("ls")
def ls() -> None:
    """List the recipes that ship, with what each is for.

    Example: harness recipes ls
    """
    found = shipped()
    width = max((len(name) for name in found), default=0)
    for name, path in found.items():
        print(f"{name:<{width}}  {about(path)}".rstrip())


@app.command("cp")
def cp(
    name: Annotated[str, typer.Argument(help="A name that `harness recipes ls` shows.")],
    dest: Annotated[Path, typer.Argument(help="A file or folder; the current folder by default.")] = Path(),
) -> None:
    """Copy a recipe to edit it. Never overwrites.

    Example: harness recipes cp quickstart my-study.yaml
    """
    from harness.recipe.faults import nearest

    found = shipped()
    path = found.get(name.removesuffix(".yaml"))
    if path is None:
        raise HarnessError(f"no recipe '{name}'{nearest(name, found)}", fix="`harness recipes ls` lists them.")
    target = dest / path.name if dest.is_dir() else dest
    if target.exists():
        raise HarnessError("this file exists; it is not overwritten", where=str(target), fix="Name another DEST.")
    if not target.parent.is_dir():
        raise HarnessError("no such folder", where=str(target.parent))
    shutil.copyfile(path, target)
    print(target)


def shipped() -> dict[str, Path]:
    """Recipe name (`papers/NAME` for the papers' own) -> file: `recipes/` of a source checkout, else what the installed
    wheel brought."""
    checkout = Path(__file__).parents[2]
    if (checkout / "pyproject.toml").is_file():
        files = list((checkout / "recipes").rglob("*.yaml"))
    else:
        wheel = importlib.metadata.distribution("harness")
        every = (f for f in wheel.files or () if f.suffix == ".yaml" and "share/harness/recipes" in f.as_posix())
        files = [Path(str(f.locate())) for f in every]
    named = {"papers/" * (path.parent.name == "papers") + path.stem: path.resolve() for path in files if path.is_file()}
    return dict(sorted(named.items(), key=lambda item: ("/" in item[0], item[0])))


def about(path: Path) -> str:
    """A recipe's `description`, else its first comment after the one that holds the command."""
    import yaml

    text = path.read_text(encoding="utf-8")
    try:
        data = yaml.load(text, yaml.BaseLoader)  # noqa: S506 - builds text, lists and mappings only
    except yaml.YAMLError:
        data = None
    if isinstance(data, dict) and isinstance(description := data.get("description"), str):
        return " ".join(description.split())
    comments = (line.lstrip("# ").strip() for line in text.splitlines() if line.startswith("#"))
    return next((c for c in comments if c and not c.startswith("harness ")), "")
