"""`harness store`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import RESULTS, Format, Results
from harness.core.errors import HarnessError

if TYPE_CHECKING:
    from harness.store.store import Store

app = typer.Typer(help="Look after the store of finished stages.", no_args_is_help=True)


@app.command()
def du(results: Results = RESULTS, format_: Format = "table") -> None:
    """Show what the store holds, by kind of stage: how many artifacts, how much room, how much of it no run needs.

    Example: harness store du
    """
    import pandas as pd

    from harness.cli.output import emit
    from harness.record.folder import needed
    from harness.store.upkeep import entries

    wanted = needed(results)
    rows = pd.DataFrame(
        [(e.kind, 1, e.bytes, e.bytes * (e.stage not in wanted)) for e in entries(_store(results))],
        columns=["kind", "artifacts", "size_mb", "unneeded_mb"],
    )
    table = rows.groupby("kind", as_index=False).sum().sort_values("size_mb", ascending=False)
    total = pd.DataFrame([{"kind": "total"} | table.drop(columns="kind").sum().to_dict()])
    table = pd.concat([table, total], ignore_index=True)
    table[["size_mb", "unneeded_mb"]] = (table[["size_mb", "unneeded_mb"]] / 1e6).round(1)
    emit(table.astype({"artifacts": "int64"}), format_)


@app.command()
def verify(
    results: Results = RESULTS,
    repair: Annotated[
        bool, typer.Option("--repair", help="Remove what is damaged, so that the next run makes it again.")
    ] = False,
    format_: Format = "table",
) -> None:
    """Read every artifact and compare it with the digests it was stored under; exit code 1 where one differs.

    Example: harness store verify --repair
    """
    import pandas as pd
    from rich.console import Console
    from rich.progress import track

    from harness.cli.output import emit
    from harness.store.upkeep import Damage, damages, discard

    store = _store(results)
    found: list[Damage] = []
    stages = [p.name for p in sorted(store.artifacts.iterdir()) if p.is_dir()]
    console = Console(stderr=True)
    for stage in track(stages, "reading", console=console, transient=True, disable=not console.is_terminal):
        found += damages(store, [stage])
    if found:
        emit(
            pd.DataFrame([{"stage": d.stage[:12], "kind": d.kind, "title": d.title, "what": d.what} for d in found]),
            format_,
        )
    print(f"{len(stages)} artifacts read, {len(found)} damaged", file=sys.stderr)
    if repair:
        busy = [d.stage[:12] for d in found if not discard(store, d.stage)]
        print(f"{len(found) - len(busy)} removed: the next run makes them again", file=sys.stderr)
        found = [d for d in found if d.stage[:12] in busy]
    if found:
        raise HarnessError(f"{len(found)} damaged artifact(s)", where=str(store.root), fix="`--repair` removes them.")


@app.command()
def gc(
    results: Results = RESULTS,
    yes: Annotated[bool, typer.Option("--yes", help="Remove; without this only say what would be removed.")] = False,
    format_: Format = "table",
) -> None:
    """Remove what no run under results/runs needs: artifacts, and what stopped stages left to resume from.

    A run is kept by its folder: remove results/runs/NAME, then what it alone needed goes. Judges' replies stay.

    Examples:

        harness store gc

        harness store gc --yes
    """
    import pandas as pd

    from harness.cli.output import emit
    from harness.record.folder import needed
    from harness.store.upkeep import discard, unneeded

    store = _store(results)
    found = list(unneeded(store, needed(results)))
    if found:
        rows = [{"stage": e.stage[:12], "kind": e.kind, "title": e.title, "size_mb": e.bytes / 1e6} for e in found]
        emit(pd.DataFrame(rows), format_)
    size = sum(e.bytes for e in found) / 1e6
    if not yes:
        print(f"{len(found)} to remove, {size:,.1f} MB; --yes removes them", file=sys.stderr)
        return
    gone = [e for e in found if discard(store, e.stage)]
    print(f"{len(gone)} removed, {sum(e.bytes for e in gone) / 1e6:,.1f} MB", file=sys.stderr)
    if len(gone) < len(found):
        print(f"{len(found) - len(gone)} are being made just now and stay", file=sys.stderr)


def _store(results: Path) -> "Store":
    from harness.store.store import Store

    if not (results / "store").is_dir():
        raise HarnessError("there is no store here", where=str(results), fix="`harness run RECIPE` makes one.")
    return Store(results / "store")
