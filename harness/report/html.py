"""A run folder in, a report out: one self-contained page, the same in Markdown, each table and figure as a file."""

import base64
import hashlib
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from harness.report import facts
from harness.report.browser import browser_data, safe_json
from harness.report.comparisons import comparison_table, comparisons
from harness.report.costs import cost_table
from harness.report.data_facts import contamination_table, mix_table
from harness.report.drawing import Drawing
from harness.report.experts import router_table
from harness.report.figures import drawings
from harness.report.groups import group_cells
from harness.report.load import SEED_AXIS, RunData, load_run
from harness.report.measure import Estimate, Measures
from harness.report.numbers import count, interval, p_text, value_text
from harness.report.render_table import entry_text, is_signed, marks_title, to_csv, to_latex, to_markdown
from harness.report.style import dark_style, save
from harness.report.tables import Column, Shown, Table, category_table, headline_table


def render(run_folder: Path, out_folder: Path) -> Path:
    """Write report.html, report.md, tables/ and figures/ into `out_folder`; returns the page's path."""
    run = load_run(run_folder)
    measures = Measures(run)
    out_folder.mkdir(parents=True, exist_ok=True)
    for name in ("tables", "figures"):
        (out_folder / name).mkdir(exist_ok=True)
    content = _content(run, measures)
    for table in _all_tables(content):
        (out_folder / "tables" / f"{table.name}.csv").write_text(to_csv(table), encoding="utf-8")
        (out_folder / "tables" / f"{table.name}.tex").write_text(to_latex(table), encoding="utf-8")
    content["figures"] = [(d, save(d.draw, d.name, out_folder / "figures")) for d in drawings(run, measures)]
    page = out_folder / "report.html"
    html = environment().get_template("report.html").render(**content, **frame(), **_samples(run))
    page.write_text(html, encoding="utf-8")
    text = environment(escape=False).get_template("report.md.jinja").render(**content)
    (out_folder / "report.md").write_text(text, encoding="utf-8")
    return page


def _content(run: RunData, measures: Measures) -> dict[str, Any]:
    """What both the page and the Markdown show."""
    compared = comparisons(run, measures)
    by_category = [category_table(run, measures, m) for m in run.metrics if m.headline]
    return {
        "run": run,
        "sweep": facts.sweep_in_words(run),
        "warnings": facts.warnings(run, measures),
        "findings": facts.findings(run, compared),
        "scores": headline_table(run, measures),
        "compared": comparison_table(run, compared, title=_against_title(compared)) if compared else None,
        "ablations": _ablations(run, measures),
        "categories": [t for t in by_category if t is not None],
        "judges": facts.judge_table(run),
        "training": facts.training_table(run),
        "mixes": mix_table(run),
        "contamination": contamination_table(run),
        "router": router_table(run, group_cells(run)),
        "costs": cost_table(run),
        "cost": facts.cost(run),
        "provenance": facts.provenance(run),
    }


def _against_title(compared: list[Any]) -> str:
    bases = {c.base.title for c in compared}
    return f"Every cell against {bases.pop()}" if len(bases) == 1 else "Comparisons"


def _ablations(run: RunData, measures: Measures) -> list[Table]:
    """Per axis: each cell against the cell that differs from it only there, by the axis's first label."""
    tables = []
    for axis, labels in run.axes.items():
        if axis == SEED_AXIS or len(labels) < 2:
            continue
        found = comparisons(run, measures, f"{axis}={labels[0]}")
        if found:
            title = f"What {axis.replace('_', ' ')} changes, against {labels[0]}"
            tables.append(comparison_table(run, found, f"comparisons_{axis}", title))
    return tables


_SINGLE = ("scores", "compared", "judges", "training", "mixes", "contamination", "router", "costs")


def _all_tables(content: dict[str, Any]) -> list[Table]:
    single = [content[name] for name in _SINGLE]
    return [t for t in [*single, *content["ablations"], *content["categories"]] if t is not None]


def frame() -> dict[str, Any]:
    """A page's own style and script, and a policy that lets nothing else run or load."""
    folder = Path(__file__).parent / "templates"
    script = (folder / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"
    return {
        "policy": policy + "; base-uri 'none'; form-action 'none'",
        "style": Markup((folder / "report.css").read_text(encoding="utf-8") + dark_style()),  # noqa: S704 (our own file)
        "script": Markup(script),  # noqa: S704 (our own file)
    }


def _samples(run: RunData) -> dict[str, Any]:
    """The sample browser's data."""
    data = browser_data(run)
    return {
        "samples": Markup(safe_json(data)),  # noqa: S704 (escaped by safe_json)
        "sample_count": len(data["items"]),
        "cut": data["cut"],
    }


def environment(*, escape: bool = True) -> Environment:
    """The pages' templates and filters; without `escape` for Markdown."""
    found = Environment(
        loader=PackageLoader("harness.report"),
        autoescape=escape,  # noqa: S701 (off for Markdown, whose filters escape)
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        "entry": entry_text,
        "estimate": lambda e, column: value_text(e, sign=is_signed(column)),
        "interval": lambda e, column: interval(e, sign=is_signed(column)),
        "count": count,
        "p": p_text,
        "marks": marks_title,
        "sort_key": _sort_key,
        "bar": _bar,
        "markdown": to_markdown,
        "svg": Markup,
        "one_line": lambda text: " ".join(str(text).split()).replace("<", "&lt;"),
    }
    found.tests |= {"estimate": lambda e: isinstance(e, Estimate)}
    found.globals |= {"in_section": _in_section, "signed": is_signed}
    return found


def _in_section(figures: list[tuple[Drawing, str]], section: str) -> list[tuple[Drawing, str]]:
    return [f for f in figures if f[0].section == section]


def _sort_key(entry: object) -> str:
    """What a click on a column's head sorts by."""
    if isinstance(entry, Estimate | Shown):
        entry = entry.value
    return "" if entry is None else repr(entry) if isinstance(entry, float) else str(entry)


def _bar(entry: Estimate, table: Table, column: Column) -> dict[str, float] | None:
    """Where an interval lies on its column's scale, in percent, for the small bar under a number."""
    place = table.columns.index(column)
    shown = [row[place] for row in table.rows]
    bounds = [b for e in shown if isinstance(e, Estimate) for b in (e.low, e.high, e.value) if b is not None]
    if entry.value is None or entry.low is None or entry.high is None or max(bounds) <= min(bounds):
        return None
    low, span = min(bounds), max(bounds) - min(bounds)
    left, right, middle = (round(100 * (b - low) / span, 1) for b in (entry.low, entry.high, entry.value))
    return {"left": left, "width": round(right - left, 1), "middle": middle}
