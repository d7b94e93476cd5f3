"""A profile in words, bars and marked text: for the terminal, and for a report's page."""

from collections.abc import Iterator, Mapping

from harness.core.errors import printable
from harness.data.duplicates import HASHES, NEAR
from harness.data.profile import EDGES, Piece, Profile, Shown, Spread

BEGIN, END = "⟦", "⟧"
"""Around the text of tokens that are trained on."""
NEAR_MEANS = (
    f"Nearly repeated: rows of which {NEAR:.0%} or more is in an earlier row (Jaccard similarity of runs of 8 bytes, "
    f"case and white space aside; estimated by {HASHES} min-hashes, standard error 3.5 points)."
)
_BAR = 40
"""Characters of the longest bar."""
_EIGHTHS = " ▏▎▍▌▋▊▉"
_ID = 60
"""Characters of a conversation's id."""


def facts(profile: Profile, labels: Mapping[str, Mapping[str, int]]) -> list[tuple[str, str]]:
    """What is counted, each with its name."""
    rows = f"{profile.rows:,}, of which {profile.used:,} are trained on"
    left_out = [(f"left out: {printable(why)}", f"{n:,}") for why, n in profile.left_out.items()]
    turns = ", ".join(f"{_turns(turns, profile)}: {n:,}" for turns, n in profile.turns.items())
    columns = [(f"column {name}", shares) for name, shares in labels_in_words(labels)]
    return [
        ("rows", rows),
        *left_out,
        ("answers a row", turns),
        ("prompt tokens", spread_in_words(profile.prompt)),
        ("response tokens", spread_in_words(profile.response)),
        (f"cut at {profile.max_length:,} tokens", _of(profile.truncated, profile.used)),
        ("nearly repeat a row", _of(profile.repeats, profile.rows) + _pairs(profile)),
        *columns,
    ]


def labels_in_words(labels: Mapping[str, Mapping[str, int]]) -> list[tuple[str, str]]:
    """Each column with the shares of its values."""
    return [(printable(name), _shares(counts)) for name, counts in labels.items()]


def spread_in_words(spread: Spread) -> str:
    """Median, 95th percentile, longest and sum."""
    return f"median {spread.median:,.0f}, 95 % up to {spread.p95:,.0f}, at most {spread.most:,}; sum {spread.total:,}"


def bars(spread: Spread) -> Iterator[str]:
    """A line for each bin between the shortest and the longest: its lengths, a bar, its conversations."""
    if not spread.bins:
        return
    places = [EDGES.index(edge) for edge in spread.bins]
    most = max(spread.bins.values())
    for place in range(min(places), max(places) + 1):
        count = spread.bins.get(EDGES[place], 0)
        eighths = -(-count * _BAR * 8 // most)
        bar = "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
        first, last = EDGES[place], EDGES[place + 1] - 1
        lengths = f"{first:,}" if first == last else f"{first:,}-{last:,}"
        yield f"{lengths:>13} {bar:{_BAR}} {count:,}"


def heading(shown: Shown) -> str:
    """Which conversation it is, and how much of it is trained on."""
    return f"{clipped_id(shown.id)}: {shown.tokens:,} tokens, {shown.taught:,} trained on"


def clipped_id(name: str) -> str:
    """A conversation's id in a line."""
    return printable(name if len(name) <= _ID else f"{name[: _ID - 3]}...")


def marked(shown: Shown) -> str:
    """The conversation's text with BEGIN and END around what is trained on; what was cut off is told."""
    return "".join(map(_marked, shown.pieces))


def _marked(piece: Piece) -> str:
    if piece.part == "cut":
        return f"\n[cut off: {_size(piece):,} characters]"
    text = visible(piece)
    return f"{BEGIN}{text}{END}" if piece.part == "taught" else text


def visible(piece: Piece) -> str:
    """A piece's text in its lines, in which what a terminal or a page would obey is written out."""
    gap = f" [... {piece.left_out:,} characters ...] " if piece.left_out else ""
    return _lines(piece.text) + gap + _lines(piece.rest)


def _lines(text: str) -> str:
    return "\n".join(printable(line) for line in text.split("\n"))


def _size(piece: Piece) -> int:
    return len(piece.text) + piece.left_out + len(piece.rest)


def _turns(turns: int, profile: Profile) -> str:
    return f"{turns}" if turns < max(profile.turns) or turns < 9 else f"{turns} or more"


def _of(count: int, rows: int) -> str:
    return f"{count:,} ({count / max(rows, 1):.1%})"


def _pairs(profile: Profile) -> str:
    pairs = [f"{clipped_id(row)} repeats {clipped_id(earlier)}" for row, earlier in profile.pairs]
    return f": {'; '.join(pairs)}{'; ...' * (profile.repeats > len(pairs))}" if pairs else ""


def _shares(counts: Mapping[str, int]) -> str:
    total, ordered = sum(counts.values()), sorted(counts.items(), key=lambda counted: -counted[1])
    return ", ".join(f"{printable(value)} {count / total:.1%}" for value, count in ordered)
