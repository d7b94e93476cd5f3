"""The command line: one small file per command, which parses, calls and prints."""

import errno
import gc
import importlib.metadata
import sys
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from harness import __version__
from harness.cli import (
    compare,
    data,
    doctor,
    export,
    judge,
    models,
    plan,
    rehearse,
    replicate,
    report,
    run,
    score,
    scores,
    show,
    status,
    store,
    teachers,
    validate,
)
from harness.cli.recipes import app as recipes_app
from harness.core.errors import HarnessError


class _Commands(TyperGroup):
    """Our commands, and those of installed packages by their entry points, each loaded when it is asked for.

    An entry point is `name = "module:app"` with an app of typer's. A name of ours stays ours.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        """Ours first."""
        return [*super().list_commands(ctx), *sorted(_brought().names - self.commands.keys())]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Ours, or theirs; None where there is none."""
        if (command := super().get_command(ctx, cmd_name)) is not None:
            return command
        return next((_loaded(point) for point in _brought() if point.name == cmd_name), None)


def _brought() -> importlib.metadata.EntryPoints:
    return importlib.metadata.entry_points(group="harness.commands")


def _loaded(point: importlib.metadata.EntryPoint) -> Any:
    from harness.core.plugins import load

    plugin = load(point)
    if not isinstance(plugin.entry, typer.Typer):
        what = f"the entry point '{point.name} = {point.value}' is no app of typer's"
        raise HarnessError(what, where=point.group, fix=f"Mend or remove the package ({plugin.package}).")
    command = typer.main.get_command(plugin.entry)
    command.name = point.name
    return command


app = typer.Typer(
    name="harness",
    cls=_Commands,
    help="An evaluation-first harness for distillation ablations.",
    epilog="Start with: harness recipes ls",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(run.run)
app.command()(plan.plan)
app.command()(rehearse.rehearse)
app.command()(status.status)
app.command()(show.show)
app.command()(scores.scores)
app.command()(compare.compare)
app.command()(replicate.replicate)
app.command()(report.report)
app.command()(export.export)
app.command()(validate.validate)
app.command()(doctor.doctor)
app.add_typer(score.app, name="score")
app.add_typer(judge.app, name="judge")
app.add_typer(recipes_app, name="recipes")
app.add_typer(teachers.app, name="teachers")
app.add_typer(models.app, name="models")
app.add_typer(data.app, name="data")
app.add_typer(store.app, name="store")


def _version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """One command takes a recipe from models to scores and a report."""


def main() -> None:
    """Entry point: a fault the user can mend is one message on stderr and exit code 1, never a traceback."""
    gc.set_threshold(100_000, 20, 20)  # a large plan is millions of objects and no circle of them: nothing to collect
    try:
        app()
    except HarnessError as error:
        _fail(str(error))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            _fail(f"{where}the disk is full\n  Free some space and run again: what is finished is kept.")
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            _fail(f"{where}{error.strerror}\n  Change the permissions, or name another place (--results, --out).")
        raise


def _fail(message: str) -> NoReturn:
    print(f"harness: {message}", file=sys.stderr)
    sys.exit(1)
