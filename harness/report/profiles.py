"""The page's section on training data: a table of the datasets, their token lengths, conversations as the model sees
them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from matplotlib.figure import Figure

from harness.data.profile import EDGES, Piece, Profile, Spread
from harness.data.show_profile import NEAR_MEANS, facts, heading, labels_in_words, marked, visible
from harness.record.profiles import ProfileRecord
from harness.report.drawing import Drawing
from harness.report.load import RunData
from harness.report.style import COLOURS, figure, legend_below
from harness.report.tables import Column, Entry, Shown, Table

_MOST_DRAWN = 6
"""Datasets whose lengths are drawn and whose conversations are shown; the table has all."""
_LONGEST = 400
"""Characters of a conversation in a table."""


def profile_table(run: RunData) -> Table | None:
    """A row per dataset that models were trained on; None for a run without any."""
    rows: tuple[tuple[Entry, ...], ...] = tuple(
        (record.dataset, record.tokenizer, *_counts(record.profile)) for record in run.profiles
    )
    columns = (
        Column("dataset", "training data"),
        Column("tokenizer", "tokens of"),
        Column("rows", "rows", kind="number"),
        Column("used", "trained on", kind="number"),
        Column("turns", "answers", "a row", "number"),
        Column("prompt_tokens", "prompt", "tokens, median, 95 %", "number"),
        Column("response_tokens", "response", "tokens, median, 95 %", "number"),
        Column("truncated", "cut short", "%", "number"),
        Column("repeats", "repeated", "nearly, %", "number"),
    )
    labels = {f"{record.dataset}, by its columns: {_labels(record)}." for record in run.profiles if record.labels}
    notes = (NEAR_MEANS, *sorted(labels))
    return Table("data", "What was trained on", columns, rows, notes) if rows else None


def example_table(run: RunData) -> Table | None:
    """Conversations of each dataset, drawn at random, their begin; None for a run without any."""
    rows = tuple(
        (record.dataset, heading(shown), _begin(marked(shown)))
        for record in _shown(run)
        for shown in record.profile.examples
    )
    columns = (Column("dataset", "training data"), Column("id", "conversation"), Column("text", "as the model sees it"))
    notes = ("⟦Trained on⟧; all else is read and not learned.",)
    return Table("data_examples", "Training examples", columns, rows, notes) if rows else None


@dataclass(frozen=True)
class Dataset:
    """What the HTML page says of a dataset."""

    title: str
    facts: Sequence[tuple[str, str]]
    examples: Sequence[tuple[str, Sequence[tuple[str, str]]]]
    """Of each conversation a heading, and (part, text) of its pieces."""


def datasets(run: RunData) -> list[Dataset]:
    """The datasets that the page shows, the first few of them."""
    return [
        Dataset(
            _title(record),
            facts(record.profile, record.labels),
            [(heading(shown), list(map(_piece, shown.pieces))) for shown in record.profile.examples],
        )
        for record in _shown(run)
    ]


def profile_drawings(run: RunData) -> Iterator[Drawing]:
    """A histogram of token lengths for each of the datasets that are shown."""
    for number, record in enumerate(_shown(run), 1):
        caption = f"{_title(record)}: tokens of prompts and of responses that are trained on."
        yield Drawing(
            f"data_tokens_{number}", "trained-on", caption, partial(histogram, record.profile, record.dataset)
        )


def histogram(profile: Profile, title: str) -> Figure:
    """Conversations by their tokens of prompt and of response; bins are half an octave wide."""
    drawn, axes = figure(3.3, 2.4)
    for spread, name, colour in ((profile.prompt, "prompt", COLOURS[0]), (profile.response, "response", COLOURS[1])):
        edges, counts = _steps(spread)
        if counts:
            axes.stairs(counts, edges, color=colour, label=name, linewidth=1.6)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("tokens")
    axes.set_ylabel("conversations")
    axes.set_title(title if len(title) <= 44 else f"{title[:41]}...")
    legend_below(drawn)
    return drawn


def _steps(spread: Spread) -> tuple[list[float], list[int]]:
    """Edges and counts from the shortest to the longest; 0 tokens stand at a half, as no logarithm is at 0."""
    if not spread.bins:
        return [], []
    places = [EDGES.index(edge) for edge in spread.bins]
    inside = range(min(places), max(places) + 1)
    return [EDGES[k] or 0.5 for k in (*inside, inside.stop)], [spread.bins.get(EDGES[k], 0) for k in inside]


def _shown(run: RunData) -> Sequence[ProfileRecord]:
    return run.profiles[:_MOST_DRAWN]


def _title(record: ProfileRecord) -> str:
    return f"{record.dataset}, tokens of {record.tokenizer}"


def _counts(profile: Profile) -> tuple[Shown, ...]:
    turns = sum(turns * rows for turns, rows in profile.turns.items()) / max(profile.rows, 1)
    return (
        *(Shown(count, f"{count:,}") for count in (profile.rows, profile.used)),
        Shown(turns, f"{turns:.1f}"),
        *(Shown(s.median, f"{s.median:,.0f}, {s.p95:,.0f}") for s in (profile.prompt, profile.response)),
        *(
            Shown(100 * count / max(rows, 1), f"{100 * count / max(rows, 1):.1f}")
            for count, rows in ((profile.truncated, profile.used), (profile.repeats, profile.rows))
        ),
    )


def _labels(record: ProfileRecord) -> str:
    return "; ".join(f"{name} ({shares})" for name, shares in labels_in_words(record.labels))


def _begin(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({len(text) - _LONGEST:,} more characters)"


def _piece(piece: Piece) -> tuple[str, str]:
    return piece.part, visible(piece)
