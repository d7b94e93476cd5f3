"""One table, four notations. Every text that came from outside is escaped for its notation here."""

import re

import pandas as pd

from harness.report.measure import MARKS, Estimate
from harness.report.numbers import digits, number, p_text, plain, value_text
from harness.report.tables import Column, Entry, Shown, Table

_LATEX = {"\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_LATEX |= {c: "\\" + c for c in "&%$#_"} | {"−": "$-$", "–": "--", "·": r"$\cdot$", "<": "$<$", ">": "$>$"}
_LATEX |= {"†": r"\dag{}", "‡": r"\ddag{}", "§": r"\S{}", "¶": r"\P{}", "‖": r"$\|$"}
_LATEX |= {"◊": r"$\diamond$", "∗": r"$\ast$"}
_LATEX |= {"↑": r"$\uparrow$", "↓": r"$\downarrow$", "β": r"$\beta$", "θ": r"$\theta$", "∞": r"$\infty$"}
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#|!~])")


def to_csv(table: Table) -> str:
    """All values at full precision, estimates spread over columns."""
    text: str = table.frame().to_csv(index=False, lineterminator="\n")
    return text


def is_signed(column: Column) -> bool:
    """Differences carry their sign."""
    return column.key == "difference"


def entry_text(entry: Entry, column: Column) -> str:
    """An entry as plain text."""
    if isinstance(entry, Estimate):
        return plain(entry, sign=is_signed(column))
    if isinstance(entry, Shown):
        return entry.text
    if column.kind == "p":
        return p_text(entry if isinstance(entry, float) else None)
    if isinstance(entry, float):
        return number(entry, digits(None, entry))
    return "–" if entry is None else str(entry)


def readable(table: Table) -> pd.DataFrame:
    """The table as texts under its readers' titles: what a terminal shows."""
    rows = [[entry_text(e, c) for c, e in zip(table.columns, row, strict=True)] for row in table.rows]
    return pd.DataFrame(rows, columns=[c.title for c in table.columns])


def to_markdown(table: Table) -> str:
    """A GitHub table with its notes below."""
    heads = [_md(_title(c)) for c in table.columns]
    lines = [_md_row(heads), _md_row(["---" if c.kind in ("text", "words") else "---:" for c in table.columns])]
    for row in table.rows:
        cells = []
        for column, entry in zip(table.columns, row, strict=True):
            text = _md(entry_text(entry, column))
            cells.append(f"**{text}**" if isinstance(entry, Estimate) and entry.best else text)
        lines.append(_md_row(cells))
    return "\n".join([*lines, "", *(f"{_md(note)}  " for note in table.notes), ""])


def _title(column: Column) -> str:
    return f"{column.title} ({column.unit})" if column.unit else column.title


def _md_row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _md(text: str) -> str:
    # Brackets of our own intervals stay readable: only those that could start a link are escaped.
    escaped = _MARKDOWN.sub(r"\\\1", " ".join(text.split()))
    return escaped.replace(r"\(", "(").replace(r"\)", ")").replace(r"\_", "_") if "](" not in text else escaped


def to_latex(table: Table) -> str:
    """A booktabs table: value and interval by the error's digits, n/total under them."""
    kinds = "".join("l" if c.kind in ("text", "words") else "r" for c in table.columns)
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{_tex(table.title)}}}", rf"\begin{{tabular}}{{{kinds}}}"]
    lines += [r"\toprule", " & ".join(_tex(_title(c)) for c in table.columns) + r" \\", r"\midrule"]
    for k, row in enumerate(table.rows):
        if k in table.rules:
            lines.append(r"\midrule")
        lines.append(" & ".join(_tex_entry(e, c) for c, e in zip(table.columns, row, strict=True)) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par\smallskip{{\footnotesize {_tex(note)}}}" for note in table.notes]
    return "\n".join([*lines, r"\end{table}", ""])


def _tex_entry(entry: Entry, column: Column) -> str:
    if not isinstance(entry, Estimate):
        return _tex(entry_text(entry, column))
    value = _tex(value_text(entry, sign=is_signed(column)))
    rest = plain(entry, sign=is_signed(column)).partition(" ")[2]
    value = rf"\textbf{{{value}}}" if entry.best else value
    return rf"{value} {{\footnotesize {_tex(rest)}}}" if rest else value


def _tex(text: str) -> str:
    return "".join(_LATEX.get(c, c) for c in text)


def marks_title(entry: Estimate) -> str:
    """What an estimate's marks mean, for a tooltip."""
    return "; ".join(MARKS[m][1] for m in MARKS if m in entry.marks)
