"""The page on which people label answers, in a browser: keys label and move, texts stay texts."""

import html
from dataclasses import replace
from pathlib import Path

from harness.record.labels import LabelLine
from harness.report.label_page import page
from tests.browser.conftest import Browser
from tests.browser.test_page import HOSTILE

LINE = LabelLine("mt_bench", "81", 1, HOSTILE, None, "Which?", "A right one", (("Before?", "Yes."),), "points")
PRESS = """
<script>
document.body.dataset.posts = "";
window.fetch = async (where, what) => {
  document.body.dataset.posts += ` ${what.body}`;
  return { ok: OK, status: 500 };
};
for (const key of KEYS) dispatchEvent(new KeyboardEvent("keydown", { key }));
</script>
"""


def dom(browser: Browser, tmp_path: Path, lines: list[LabelLine], keys: str = "[]", ok: str = "true") -> str:
    """The page after these keys."""
    path = tmp_path / "page.html"
    path.write_text(page(lines) + PRESS.replace("KEYS", keys).replace("OK", ok))
    return html.unescape(browser.dom(path, tmp_path / "profile"))


def test_a_key_labels_and_goes_on(browser: Browser, tmp_path: Path) -> None:
    """It begins at the first answer without a label; 0 is a ten."""
    lines = [replace(LINE, value=3), replace(LINE, item="82"), replace(LINE, item="83")]
    shown = dom(browser, tmp_path, lines, '["0"]')
    assert '{"place":1,"value":10}' in shown
    assert "3 of 3; 2 labelled" in shown


def test_a_pair_has_five_keys(browser: Browser, tmp_path: Path) -> None:
    """The first says that the answer is much better; keys beyond the fifth do nothing."""
    shown = dom(browser, tmp_path, [replace(LINE, scale="percent"), LINE], '["6", "1"]')
    assert '{"place":0,"value":100}' in shown
    assert shown.count('"place":') == 1


def test_a_label_that_is_not_saved_is_said(browser: Browser, tmp_path: Path) -> None:
    """The page stays where it is."""
    shown = dom(browser, tmp_path, [LINE, replace(LINE, item="82")], '["7"]', ok="false")
    assert "Not saved (500)" in shown


def test_all_that_a_person_needs_is_shown_as_text(browser: Browser, tmp_path: Path) -> None:
    """The earlier turn, the question, and a right answer; an answer that looks like a page changes nothing."""
    shown = dom(browser, tmp_path, [LINE])
    assert all(text in shown for text in ("Before?", "Yes.", "Which?", "A right one"))
    assert "<title>Labels</title>" in shown
