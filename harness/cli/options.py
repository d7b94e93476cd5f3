"""Options that several commands share."""

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

if TYPE_CHECKING:
    from harness.recipe.load import Recipe

Results = Annotated[Path, typer.Option("--results", help="The folder of store and runs.", envvar="HARNESS_RESULTS")]
RESULTS = Path("results")
Format = Annotated[str, typer.Option("--format", help="table, csv or json (json on stdout alone).")]
RecipeFile = Annotated[Path, typer.Argument(help="A recipe's YAML file.", show_default=False)]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a setting: key.path=value; may be given more than once.", metavar="KEY=VALUE"),
]
Plugins = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugins",
        help="A file with a benchmark, training step, teacher score, form of verdict or engine of your own; may be "
        "given more than once.",
        metavar="FILE.py",
    ),
]


@dataclass(frozen=True)
class RecipeOptions:
    """Which recipe."""

    recipe: RecipeFile
    set_: Sets = None
    plugins: Plugins = None

    def load(self) -> "Recipe":
        """The recipe, checked."""
        from harness.api.recipes import load_recipe

        return load_recipe(self.recipe, self.set_ or [], self.plugins or [])


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose parameters may be dataclasses: typer sees an option per field, in the place of the group."""
    hints = get_type_hints(command, include_extras=True)
    options: list[Parameter] = []
    groups: dict[str, Any] = {}
    for parameter in signature(command).parameters.values():
        kind = hints[parameter.name]
        if isinstance(kind, type) and is_dataclass(kind):
            groups[parameter.name] = kind
            options += signature(kind).parameters.values()
        else:
            options.append(parameter)

    @wraps(command)
    def call(**given: Any) -> None:
        for name, kind in groups.items():
            given[name] = kind(**{field.name: given.pop(field.name) for field in fields(kind)})
        command(**given)

    call.__signature__ = Signature(options)  # type: ignore[attr-defined]
    call.__annotations__ = {option.name: option.annotation for option in options}
    return call
