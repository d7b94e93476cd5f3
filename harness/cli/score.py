"""`harness score`: score stored answers and verdicts; no model and no network."""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import Format

app = typer.Typer(help="Score stored answers and verdicts; no model needed.", no_args_is_help=True)


@app.callback()
def _score() -> None:
    """Keep `mt-bench` a subcommand however many there are."""


@app.command("mt-bench")
def mt_bench(
    questions: Annotated[Path, typer.Option(help="FastChat's question.jsonl.", show_default=False)],
    judgments: Annotated[
        list[Path], typer.Option(help="FastChat's model_judgment/*_single.jsonl; more may follow.", show_default=False)
    ],
    more: Annotated[list[Path] | None, typer.Argument(metavar="[JUDGMENTS]...", show_default=False)] = None,
    format_: Format = "table",
) -> None:
    """Score MT-Bench verdicts as FastChat does, with standard errors clustered by question.

    Example: harness score mt-bench --questions question.jsonl --judgments model_judgment/gpt-4_single.jsonl
    """
    from harness.bench.mt_bench import score_files
    from harness.cli.output import emit

    emit(score_files(questions, [*judgments, *(more or [])]), format_)


@app.command("arena-hard")
def arena_hard(
    questions: Annotated[Path, typer.Option(help="Arena-Hard's question.jsonl.", show_default=False)],
    files: Annotated[list[Path] | None, typer.Argument(metavar="JUDGMENTS...", show_default=False)] = None,
    judgments: Annotated[
        list[Path] | None,
        typer.Option(help="arena-hard-auto's model_judgment/JUDGE/*.jsonl (or .xz); or name them as arguments."),
    ] = None,
    answers: Annotated[
        list[Path] | None,
        typer.Option(
            help="v2.0's model_answer/MODEL.jsonl of every judged model and baseline: win rates at equal style, too."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the bootstrap over questions.")] = 0,
    format_: Format = "table",
) -> None:
    """Score Arena-Hard verdicts: Bradley-Terry win rates against the baseline, clustered by question.

    Example: harness score arena-hard --questions question.jsonl model_judgment/gpt-4-1106-preview/*.jsonl
    """
    from harness.bench.arena_hard import score_files
    from harness.cli.output import emit

    emit(score_files(questions, [*(judgments or []), *(files or [])], seed, answers or []), format_)


@app.command("alpaca-eval")
def alpaca_eval(
    annotations: Annotated[
        list[Path],
        typer.Argument(
            help="annotations.json as alpaca_eval writes it (.json, .json.xz, .jsonl, .parquet); several may be given.",
            show_default=False,
        ),
    ],
    lc_reference: Annotated[
        Path | None,
        typer.Option(help="AlpacaEval's df_gamed.csv; without it length-controlled rates are approximate."),
    ] = None,
    audit: Annotated[
        list[Path] | None,
        typer.Option(
            help="A reference judge's annotations of a random share of the same answers, which audit the rates; "
            "may be given more than once."
        ),
    ] = None,
    format_: Format = "table",
) -> None:
    """Win rates and length-controlled win rates of AlpacaEval annotations, as the package alpaca_eval computes them.

    Example: harness score alpaca-eval results/*/weighted_alpaca_eval_gpt4_turbo/annotations.json
    """
    import pandas as pd

    from harness.bench.alpaca_eval import audit_files, score_files, second_annotations
    from harness.cli.output import emit

    table = score_files(annotations, lc_reference)
    if audit:
        audited = audit_files(annotations, audit, lc_reference)
        table = pd.concat([table.assign(audited=False), audited], ignore_index=True).astype({"n_audited": "Int64"})
    emit(table, format_)
    for line in second_annotations(annotations):
        typer.echo(f"note: {line}", err=True)
    if audit:
        typer.echo(
            "note: an audited rate estimates what the reference judge would have said of all answers, if those that "
            "it judged are a random share of them; a length-controlled one needs 200 of its verdicts",
            err=True,
        )
    if table["approximate"].any():
        typer.echo(
            "note: length-controlled win rates are approximate (stand-in for AlpacaEval's df_gamed.csv; give it with "
            "--lc-reference)",
            err=True,
        )
