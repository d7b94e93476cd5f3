"""A page for readers: the same in HTML and in Markdown, each table and figure as a file of its own."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from harness.report.answers import Answers, anchor
from harness.report.drawing import Drawing
from harness.report.measure import Estimate
from harness.report.numbers import count, interval, p_text, value_text
from harness.report.render_table import entry_text, is_signed, marks_title, to_csv, to_latex, to_markdown
from harness.report.style import dark_style, save
from harness.report.tables import Column, Shown, Table


@dataclass(frozen=True)
class Section:
    """A heading with what stands below it."""

    title: str
    table: Table
    sentences: tuple[str, ...] = ()
    """In Markdown, above the table."""
    level: int = 2


@dataclass(frozen=True)
class Page:
    """What a page shows. Its HTML arranges the sections as `templates/STEM.html` says, its Markdown one by one."""

    stem: str
    """Of its files and of its HTML template."""
    title: str
    heading: str
    description: str
    summary: str
    """What was varied or asked, and how far the verdicts reach."""
    warnings: Sequence[str]
    parts: Mapping[str, str]
    """Those of the HTML: id -> title in the navigation (see `parts`)."""
    sections: Sequence[Section]
    behind: Sequence[Section]
    """Those that stand behind the figures."""
    facts: Sequence[tuple[str, str]]
    """Where the numbers come from."""
    facts_title: str
    figures: Sequence[Drawing]
    content: Mapping[str, Any]
    """What only its HTML template reads."""
    answers: Answers | None = None
    """What is said first, before any table."""
    folded: Sequence[Table] = field(default_factory=tuple)
    """Tables that the HTML alone shows."""


def parts(*known: tuple[str, str, bool]) -> dict[str, str]:
    """Of the parts (id, title, whether there is anything in it) those that a page has."""
    return {part: title for part, title, there in known if there}


def write(page: Page, out: Path) -> Path:
    """Write STEM.html, STEM.md, tables/ and figures/ into `out`; returns the HTML page's path."""
    for name in ("tables", "figures"):
        (out / name).mkdir(parents=True, exist_ok=True)
    for table in [section.table for section in (*page.sections, *page.behind)] + list(page.folded):
        (out / "tables" / f"{table.name}.csv").write_text(to_csv(table), encoding="utf-8")
        (out / "tables" / f"{table.name}.tex").write_text(to_latex(table), encoding="utf-8")
    shown = {"page": page, "figures": [(d, save(d.draw, d.name, out / "figures")) for d in page.figures]}
    path = out / f"{page.stem}.html"
    html = _environment().get_template(path.name).render(**shown, **page.content, **_frame())
    path.write_text(html, encoding="utf-8")
    text = _environment(escape=False).get_template("page.md.jinja").render(**shown)
    (out / f"{page.stem}.md").write_text(text, encoding="utf-8")
    return path


def _frame() -> dict[str, Any]:
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


def _environment(*, escape: bool = True) -> Environment:
    """The pages' templates and filters; without `escape` for Markdown."""
    made = Environment(
        loader=PackageLoader("harness.report"),
        autoescape=escape,  # noqa: S701 (off for Markdown, whose filters escape)
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
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
        "anchor": anchor,
        "one_line": lambda text: " ".join(str(text).split()).replace("<", "&lt;"),
    }
    made.tests |= {"estimate": lambda e: isinstance(e, Estimate)}
    made.globals |= {"in_section": _in_section, "signed": is_signed}
    return made


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
