"""lm-eval's tasks by name: tasks, tags and groups are found without importing the package, misspelt ones are told."""

import subprocess
import sys
from pathlib import Path

import pytest

from harness.bench.lm_eval.tasks import Chosen, choose, config
from harness.core.errors import HarnessError

GENERATED = """
task: sums
tag: arithmetic
output_type: generate_until
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
filter_list: [{name: strict-match, filter: []}, {name: last, filter: []}]
"""
GROUP = """
group: school
task: [sums, {group: inner, task: [reading, spelling]}]
aggregate_metric_list: [{metric: acc, weight_by_size: WEIGHTED}]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "base").write_text("tag: [letters, all]\noutput_type: multiple_choice\n")
    (tmp_path / "sums.yaml").write_text(GENERATED)
    (tmp_path / "reading.yaml").write_text("include: base\ntask: reading\nprocess_docs: !function utils.docs\n")
    (tmp_path / "spelling.yaml").write_text("include: base\n'task': spelling\nmetric_list: [{metric: acc}]\n")
    (tmp_path / "school.yaml").write_text(GROUP.replace("WEIGHTED", "true"))
    (tmp_path / "poems.yaml").write_text("include: base\ntask: poems\ntag: art\n")
    (tmp_path / "wide.yaml").write_text("group: wide\ntask: [school, poems]\n")
    return tmp_path


def names(chosen: Chosen) -> list[str]:
    return [one.name for one in chosen.reported]


def test_a_task_reports_its_means_by_filter_or_what_its_output_type_has(folder: Path) -> None:
    assert names(choose(["sums"], folder)) == ["sums_exact_match_strict_match", "sums_exact_match_last"]
    assert names(choose(["reading", "spelling"], folder)) == ["reading_acc", "reading_acc_norm", "spelling_acc"]


def test_a_tag_is_its_tasks_inherited_tags_too(folder: Path) -> None:
    assert choose(["letters"], folder).asked == ("reading", "spelling")
    assert choose(["all", "reading"], folder).asked == ("reading", "spelling"), "a task asked twice runs once"


def test_a_group_has_a_score_of_its_own_over_every_task_under_it(folder: Path) -> None:
    chosen = choose(["school"], folder)
    assert (chosen.asked, list(chosen.leaves)) == (("school",), ["sums", "reading", "spelling"])
    assert names(chosen) == ["school_acc"]
    (folder / "school.yaml").write_text(GROUP.replace("WEIGHTED", "false"))
    moved = folder.rename(folder.with_name("again"))  # what a folder holds is read once
    assert names(choose(["school"], moved)) == ["school_acc_macro"]


def test_a_group_without_a_score_is_what_it_holds(folder: Path) -> None:
    assert choose(["wide"], folder).asked == ("school", "poems")


def test_a_task_is_not_run_for_two_scores(folder: Path) -> None:
    with pytest.raises(HarnessError, match="'reading' is asked for twice, by 'school'"):
        choose(["reading", "school"], folder)


def test_functions_are_never_called(folder: Path) -> None:
    assert config(folder / "reading.yaml")["process_docs"] == "docs"


def test_the_packages_own_tasks_are_found() -> None:
    chosen = choose(["mmlu", "ai2_arc", "gsm8k"], None)
    assert chosen.asked == ("mmlu", "arc_challenge", "arc_easy", "gsm8k")
    assert len(chosen.leaves) == 57 + 3
    assert names(chosen)[:2] == ["mmlu_acc", "arc_challenge_acc"]
    assert names(chosen)[-1] == "gsm8k_exact_match_flexible_extract"


def test_a_misspelt_name_is_told_with_the_nearest() -> None:
    with pytest.raises(HarnessError, match=r"no task, group or tag 'arc_eazy'(.|\n)*arc_easy"):
        choose(["arc_eazy"], None)


def test_a_metric_that_is_no_mean_of_items_is_refused(folder: Path) -> None:
    (folder / "text.yaml").write_text("task: text\noutput_type: loglikelihood_rolling\n")
    with pytest.raises(HarnessError, match=r"'text' has no metric that is a mean(.|\n)*word_perplexity(.|\n)*nll"):
        choose(["text"], folder)


def test_looking_up_imports_neither_the_package_nor_torch() -> None:
    code = (
        "import sys; from harness.bench.lm_eval import BENCHMARK as b; "
        'b.files(b.settings.model_validate_json(\'{"tasks": ["arc_easy"]}\')); '
        "print({'torch', 'lm_eval', 'datasets'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
