"""The page's section on training data."""

import re
from pathlib import Path

import pytest

from harness.core.errors import HarnessError
from harness.record.profiles import FILE, read_profiles, write_profiles
from harness.report.load import load_run
from harness.report.profiles import datasets, example_table, profile_table
from harness.report.run_page import render
from tests.report.fake_run import Fake, a_profile

HOSTILE = "<script>alert(1)</script></pre></mark> \x1b[31m\x07\r \u202etxt.exe\u202c [x](javascript:1) | `a` *b* \ntwo"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """HTML and Markdown of a run whose data hold what a page must not obey."""
    folder = Fake(questions=8, tasks=8, seeds=1).write(tmp_path_factory.mktemp("run"))
    write_profiles(folder, [a_profile("data train", ["cell"], HOSTILE)])
    page = render(folder, tmp_path_factory.mktemp("page"))
    return page.read_text(), page.with_suffix(".md").read_text()


def test_the_table_has_counts_and_shares(tmp_path: Path) -> None:
    run = load_run(_folder(tmp_path, 2))
    table = profile_table(run)
    assert table is not None
    [row, _] = table.frame().to_dict("records")
    assert {k: row[k] for k in ("dataset", "tokenizer", "rows", "used", "turns", "truncated", "repeats")} == {
        "dataset": "data 0",
        "tokenizer": "pocket:llama",
        "rows": 800,
        "used": 790,
        "turns": pytest.approx((700 + 180 + 90) / 800),
        "truncated": pytest.approx(10),
        "repeats": pytest.approx(1),
    }
    assert "data 0, by its columns: languageWhere is it? (en 75.0%, Where is it? 25.0%)." in table.notes


def test_trained_tokens_are_marked(tmp_path: Path) -> None:
    folder = _folder(tmp_path, 1)
    page = render(folder, tmp_path / "page")
    assert "<bdi>&lt;|user|&gt;Where is it?</bdi><mark>Where is it? Here.&lt;|end|&gt;</mark>" in page.read_text()
    assert "⟦Where is it? Here.\\<\\|end\\|\\>⟧" in page.with_suffix(".md").read_text()


def test_only_the_first_datasets_are_shown_in_full(tmp_path: Path) -> None:
    run = load_run(_folder(tmp_path, 9))
    table, examples = profile_table(run), example_table(run)
    assert table is not None
    assert examples is not None
    assert (len(table.rows), len(examples.rows), len(datasets(run))) == (9, 30, 6)


def test_a_run_without_profiles_has_no_section(tmp_path: Path) -> None:
    page = render(_folder(tmp_path, 0), tmp_path / "page")
    assert 'id="trained-on"' not in page.read_text()
    assert "What was trained on" not in page.with_suffix(".md").read_text()


def test_texts_are_shown_and_not_obeyed(hostile: tuple[str, str]) -> None:
    page, markdown = hostile
    section = re.search(r'<section id="trained-on">.*?</section>', page, re.DOTALL)
    assert section is not None
    assert "<script" not in section[0]
    assert section[0].count("<pre") == section[0].count("</pre>") == 5
    assert section[0].count("<mark>") == section[0].count("</mark>") == 1 + 5
    for text in (section[0], markdown):
        assert not set(text) & set("\x1b\x07\r\u202e\u202c")
        assert r"\x1b[31m\x07\r \u202etxt.exe\u202c" in text.replace("\\\\", "\\").replace(r"\[", "[")
    assert "<script" not in markdown.replace("\\<", "")
    assert "[x](javascript" not in markdown


def test_a_broken_file_is_told_by_its_key(tmp_path: Path) -> None:
    folder = _folder(tmp_path, 1)
    records = read_profiles(folder)
    assert records == (a_profile("data 0", ["cell"]),)
    text = (folder / FILE).read_text()
    (folder / FILE).write_text(text.replace('"rows": 800', '"rows": "many"'))
    with pytest.raises(HarnessError, match=r"profiles.json.*0\.profile\.rows"):
        load_run(folder)
    write_profiles(folder, [])
    assert read_profiles(folder) == ()


def _folder(tmp_path: Path, profiles: int) -> Path:
    folder = Fake(questions=8, tasks=8, seeds=1).write(tmp_path / "run")
    write_profiles(folder, [a_profile(f"data {number}", ["cell"]) for number in range(profiles)])
    return folder
