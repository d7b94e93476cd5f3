"""The papers' tables and figures as files, and a page that shows them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.core.errors import HarnessError
from harness.report.render_table import to_csv, to_latex, to_markdown
from harness.report.style import save
from harness_papers import checks
from harness_papers.catalogue import ITEMS, find
from harness_papers.item import Item
from harness_papers.layout import Block, PaperTable
from harness_papers.own import OwnRun


@dataclass(frozen=True)
class Built:
    """What was written, and which runs had nothing for which table."""

    pages: tuple[Path, ...]
    left_out: tuple[str, ...]


def build(names: Sequence[str], out: Path, runs: Sequence[OwnRun] = ()) -> Built:
    """Write README.md, checks.md, tables/ (md, csv, tex) and figures/ (svg, png, pdf) into `out`.

    Without names every table is written, and a run is put wherever it has something.

    Raises:
        HarnessError: no such table; a run lacks what a named table shows, or what any table shows.
    """
    wanted = [find(name) for name in names] or list(ITEMS.values())
    blocks, left_out = _own_blocks(wanted, runs, strict=bool(names))
    for folder in ("tables", "figures"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    sections = [_section(item, blocks[item.name], out) for item in wanted if item.name != checks.NAME]
    pages = []
    if any(item.name == checks.NAME for item in wanted):
        pages.append(_checks_page(out))
    if sections:
        pages.insert(0, out / "README.md")
        pages[0].write_text(_page(sections, runs, with_checks=len(pages) > 1), encoding="utf-8")
    return Built(tuple(pages), tuple(left_out))


def _own_blocks(
    wanted: Sequence[Item], runs: Sequence[OwnRun], *, strict: bool
) -> tuple[dict[str, list[Block]], list[str]]:
    """Per item the blocks of the runs, and what runs lack; an error where a table was named, or a run fits nowhere."""
    blocks: dict[str, list[Block]] = {item.name: [] for item in wanted}
    left_out: list[str] = []
    for run in runs:
        lacks: list[str] = []
        for item in wanted if strict else [i for i in wanted if i.own is not None]:
            try:
                blocks[item.name].append(item.of_run(run))
            except HarnessError as error:
                if strict:
                    raise
                lacks.append(error.what)
        if not any(b.source == run.source for own in blocks.values() for b in own):
            raise HarnessError(f"this run has something for no table: {'; '.join(lacks)}", where=run.source)
        left_out += [f"{run.source}: {what}" for what in lacks]
    return blocks, left_out


def _section(item: Item, own: Sequence[Block], out: Path) -> str:
    """Write an item's files; returns its part of the page."""
    tables, lines = item.tables(own), [f"## {item.title}", "", f"`{item.name}`: {item.source} ({item.origin}).", ""]
    for table in tables:
        _write(table, out)
        lines += [*([f"### {table.title}", ""] if table is not tables[0] else []), to_markdown(table)]
    for stem, caption, draw in item.figures(own):
        save(draw, stem, out / "figures")
        lines += [f"![{caption}](figures/{stem}.svg)", "", caption, ""]
    return "\n".join(lines)


def _write(table: PaperTable, out: Path) -> None:
    for suffix, render in (("md", to_markdown), ("csv", to_csv), ("tex", to_latex)):
        (out / "tables" / f"{table.name}.{suffix}").write_text(render(table), encoding="utf-8")


def _page(sections: Sequence[str], runs: Sequence[OwnRun], *, with_checks: bool) -> str:
    beside = f" Beside them: {', '.join(run.source for run in runs)}." if runs else ""
    intro = (
        "Published numbers stand as they are printed; `*` marks what is derived here, `~` what was read off a figure "
        f"by eye. In figures: filled, open, dashed.{beside} Each table is in `tables/` as Markdown, CSV (a line per "
        "number, with its origin) and LaTeX."
    )
    parts = ["# The papers' tables and figures", "", intro, ""]
    if with_checks:
        parts += ["[checks.md](checks.md) recomputes what can be recomputed.", ""]
    return "\n".join([*parts, *sections])


def _checks_page(out: Path) -> Path:
    [table] = checks.ITEM.tables()
    _write(table, out)
    lines = ["# What is printed, recomputed", "", "Of the numbers that can be recomputed:", ""]
    lines += [f"- {line}" for line in checks.summary()]
    lines += ["", "What cannot be recomputed:", ""]
    lines += [f"- {where}: {what}; {why}." for where, what, why in checks.NOT_RECOMPUTABLE]
    page = out / "checks.md"
    page.write_text("\n".join([*lines, "", to_markdown(replace(table, title=""))]), encoding="utf-8")
    return page
