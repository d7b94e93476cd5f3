"""What the training data were: the mix of domains, and the benchmark prompts that they contain."""

from harness.record.run import ContaminationRecord, MixRecord
from harness.report.load import RunData
from harness.report.tables import Column, Entry, Shown, Table, benchmark_title


def mix_table(run: RunData) -> Table | None:
    """Each training step's data by domain, counted by examples and by tokens; None for a run without mixes.

    Both, as a ratio of examples is not one of tokens where one domain's answers are longer.
    """
    parts: dict[tuple[str, str], dict[str, MixRecord]] = {}
    for mix in run.mixes:
        parts.setdefault((mix.cell, mix.step), {})[mix.domain] = mix
    domains = list(dict.fromkeys(d for own in parts.values() for d in own))
    rows: list[tuple[Entry, ...]] = []
    for (cell, step), own in parts.items():
        found = [own.get(d) for d in domains]
        examples, tokens = sum(m.rows for m in own.values()), sum(m.response_tokens for m in own.values())
        shares = [
            *(_percent(m.share if m else None) for m in found),
            *(_percent(m.token_share if m else None) for m in found),
        ]
        rows.append((cell, step, *_counts(examples, tokens), *shares))
    columns = (
        Column("cell", "cell"),
        Column("step", "step"),
        Column("examples", "examples", kind="number"),
        Column("response_tokens", "response tokens", kind="number"),
        *(Column(f"share_{d}", d, "% of examples", "number") for d in domains),
        *(Column(f"token_share_{d}", d, "% of tokens", "number") for d in domains),
    )
    return Table("mixes", "Data mix", columns, tuple(rows)) if rows else None


def _percent(share: float | None) -> Shown | None:
    return None if share is None else Shown(share, f"{100 * share:.1f}")


def contamination_table(run: RunData) -> Table | None:
    """How many benchmark prompts each training dataset contains; None for a run that did not look."""
    rows: tuple[tuple[Entry, ...], ...] = tuple(
        (c.dataset, benchmark_title(c.benchmark), *_counts(c.prompts, c.exact, c.ngram), _examples(c))
        for c in run.contamination
    )
    columns = (
        Column("dataset", "training data"),
        Column("benchmark", "benchmark"),
        Column("prompts", "prompts", kind="number"),
        Column("exact", "word for word", kind="number"),
        Column("ngram", "by n-grams", kind="number"),
        Column("examples", "for example"),
    )
    sizes = sorted({c.n for c in run.contamination})
    words = f" of {', '.join(map(str, sizes))} words" if sizes else ""
    notes = (f"Looked for before training: whole prompts, case and punctuation aside, and their n-grams{words}.",)
    return (
        Table("contamination", "Training data that contains benchmark prompts", columns, rows, notes) if rows else None
    )


def contamination_warnings(run: RunData) -> list[str]:
    """A sentence per dataset and benchmark with a prompt in it."""
    return [
        f"{c.dataset} contains prompts of {benchmark_title(c.benchmark)}: of {c.prompts}, {c.exact} word for word and "
        f"{c.ngram} by n-grams. Scores of models that were trained on it may be too high."
        for c in run.contamination
        if c.exact or c.ngram
    ]


def _counts(*numbers: int) -> tuple[Shown, ...]:
    return tuple(Shown(n, f"{n:,}") for n in numbers)


def _examples(found: ContaminationRecord) -> str:
    """Which prompts, and where: ids of the benchmark's and of the dataset's rows."""
    return "; ".join(f"{e.prompt} in row {e.row}" for e in found.examples[:3])
