import html
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib.image
import pytest

from harness.data.contamination import Overlap
from harness.record.run import ContaminationRecord, CostRecord, JudgeRecord, MixRecord
from harness.report.run_page import render
from tests.report.full_run import full_run

HOSTILE = (
    "</script><script>document.title='owned'</script>"
    "<img src=x onerror=\"document.title='owned'\">"
    "<svg onload=\"document.title='owned'\"><a href=\"javascript:document.title='owned'\">x</a>"
    "[click](javascript:document.title='owned') {{ 7 * 7 }} ${7 * 7} <!-- ]]> \u2028 \u202eesrever\u202c "
    + "long"
    * 2000
)


@pytest.fixture(scope="module")
def page(fake_run: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = fake_run.Fake(questions=24, tasks=20).write(tmp_path_factory.mktemp("run"))
    return render(run, tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def hostile_page(fake_run: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    record: dict[str, Any] = {
        "name": "run" + HOSTILE,
        "description": HOSTILE,
        "command": HOSTILE,
        "warnings": (HOSTILE,),
    }
    record["judges"] = (
        JudgeRecord(benchmark="mt_bench", judge=HOSTILE, protocol=HOSTILE, calibrated=False, note=HOSTILE),
    )
    cell = "teacher=large,method=sft,seed=0"
    leak = Overlap(HOSTILE, exact=True, share=None, row=HOSTILE)
    record["contamination"] = (ContaminationRecord(HOSTILE, HOSTILE, 13, 9, 1, 0, 0, (leak,), (cell,)),)
    record["mixes"] = (MixRecord(cell, HOSTILE, HOSTILE, 50, 5, share=1.0, token_share=1.0),)
    record["costs"] = (CostRecord(cell, {"train": 3.0}, judge_calls=2, judge_tokens=9, price_usd=None),)
    curves = ("loss", f"loss/{HOSTILE[:60]}")
    fake = fake_run.Fake(questions=8, tasks=4, seeds=1, hostile=HOSTILE, record=record, curves=curves, experts=2)
    fake.cells = [replace(c, failed=HOSTILE if c.cell == "teacher" else None) for c in fake.cells]
    return render(fake.write(tmp_path_factory.mktemp("run")), tmp_path_factory.mktemp("page"))


class Elements(HTMLParser):
    """Every element of a page with its attributes, as a browser finds them before any script runs."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_hostile_texts_make_no_elements(hostile_page: Path) -> None:
    """Needs no browser."""
    found = Elements(hostile_page).found
    assert [tag for tag, _ in found if tag in ("img", "iframe", "object", "base")] == []
    assert [attributes.get("type") for tag, attributes in found if tag == "script"] == ["application/json", None]
    for tag, attributes in found:
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        for name in ("href", "xlink:href", "src"):
            assert (attributes.get(name) or "#").startswith("#"), (tag, attributes)


def test_nothing_hostile_runs(browser: Any, hostile_page: Path, tmp_path: Path) -> None:
    dom = browser.dom(hostile_page, tmp_path / "profile")
    title = re.search(r"<title>(.*?)</title>", dom, re.DOTALL)
    assert title is not None
    assert title[1].startswith("run&lt;/script&gt;")
    body = dom[dom.index("<body") : dom.index('<script type="application/json"')]
    assert 'class="answer"' in body
    assert "&lt;img src=x onerror=" in body
    assert "<img" not in body
    assert "{{ 7 * 7 }}" in body


def test_hostile_answers_stay_text_even_without_the_policy(browser: Any, hostile_page: Path, tmp_path: Path) -> None:
    found = browser.drive(
        hostile_page,
        "return {title: document.title.slice(0, 3), images: document.images.length,"
        " links: document.querySelectorAll('a:not(nav a, #answers a)').length, scripts: document.scripts.length,"
        " handlers: Array.from(document.querySelectorAll('*')).filter(e => Array.from(e.attributes).some("
        "a => a.name.startsWith('on') || (/href$/.test(a.name) && !a.value.startsWith('#')))).length,"
        " answers: document.querySelectorAll('.answer').length}",
        tmp_path,
    )
    seen = json.loads(found)
    # Three scripts: the data, ours, and the one that asks.
    assert seen == {"title": "run", "images": 0, "links": 0, "scripts": 3, "handlers": 0, "answers": seen["answers"]}
    assert seen["answers"] > 10


def test_long_words_do_not_widen_the_page(browser: Any, hostile_page: Path, tmp_path: Path) -> None:
    found = json.loads(
        browser.drive(hostile_page, "return [document.documentElement.scrollWidth, window.innerWidth]", tmp_path)
    )
    assert found[0] <= found[1]


def test_heads_sort_numbers_as_numbers(browser: Any, page: Path, tmp_path: Path) -> None:
    script = """
      const table = document.querySelector('#scores table');
      const values = () => Array.from(table.tBodies[0].rows, r => Number(r.cells[2].dataset.sort));
      const before = values(); table.tHead.rows[0].cells[2].click();
      const up = values(); table.tHead.rows[0].cells[2].click();
      return {before, up, down: values(), said: table.tHead.rows[0].cells[2].getAttribute('aria-sort')};
    """
    found = json.loads(browser.drive(page, script, tmp_path))
    assert found["up"] == sorted(found["before"])
    assert found["down"] == sorted(found["before"], reverse=True)
    assert found["said"] == "descending"


def test_the_sample_browser_filters_orders_and_pages(browser: Any, page: Path, tmp_path: Path) -> None:
    script = """
      const form = document.getElementById('filters'), f = form.elements;
      const change = (e) => e.dispatchEvent(new Event('change', {bubbles: true}));
      const shown = () => document.querySelectorAll('.item').length;
      const out = {all: document.getElementById('found').textContent, page: shown()};
      f.benchmark.value = 'mt_bench'; change(f.benchmark);
      out.categories = f.category.options.length;
      f.category.value = 'math'; change(f.category);
      out.math = document.getElementById('found').textContent;
      f.order.value = 'disagreement'; change(f.order);
      out.spreads = Array.from(document.querySelectorAll('.item'), item => {
        const v = Array.from(item.querySelectorAll('.score'), s => Number(s.textContent));
        return Math.max(...v) - Math.min(...v);
      });
      const box = document.querySelector('#cells input'); box.checked = false; change(box);
      out.answers = document.querySelectorAll('.item:first-child .answer').length;
      f.category.value = ''; change(f.category); document.getElementById('more').click(); out.more = shown();
      return out;
    """
    found = json.loads(browser.drive(page, script, tmp_path))
    assert found["all"] == "10 of 88 shown"
    assert found["page"] == 10
    assert found["categories"] == 9
    assert found["math"] == "6 of 6 shown"
    assert found["spreads"] == sorted(found["spreads"], reverse=True)
    assert found["answers"] == 5
    assert found["more"] == 20


def test_ten_thousand_samples_are_shown_ten_at_a_time(browser: Any, fake_run: ModuleType, tmp_path: Path) -> None:
    # 6 cells x (2 x 700 + 2 x 150) turns = 10,200 answers.
    page = render(fake_run.Fake(questions=700, tasks=150, seeds=1).write(tmp_path / "run"), tmp_path / "out")
    assert page.stat().st_size < 8_000_000
    script = """
      const f = document.getElementById('filters').elements;
      f.order.value = 'disagreement'; f.order.dispatchEvent(new Event('change', {bubbles: true}));
      return document.querySelectorAll('.item').length;
    """
    assert json.loads(browser.drive(page, script, tmp_path)) == 10


def test_dark_is_dark_and_light_is_light(browser: Any, page: Path, tmp_path: Path) -> None:
    means = {}
    for dark in (False, True):
        shot = browser.screenshot(page, tmp_path / f"{dark}.png", (1280, 1600), tmp_path / f"profile{dark}", dark=dark)
        means[dark] = float(matplotlib.image.imread(shot)[..., :3].mean())
    assert means[False] > 0.85
    assert means[True] < 0.25


def test_a_phone_needs_no_sideways_scrolling(browser: Any, tmp_path: Path) -> None:
    page = render(full_run(tmp_path / "run"), tmp_path / "page")
    script = """
      const inside = document.querySelector('iframe').contentDocument;
      return [inside.documentElement.scrollWidth, inside.documentElement.clientWidth,
              inside.querySelectorAll('svg text').length];
    """
    outer = tmp_path / "frame.html"
    inside = html.escape(page.read_text(encoding="utf-8"))
    frame = f'<iframe srcdoc="{inside}" style="width:390px;height:3000px;border:0"></iframe>'
    outer.write_text(f"<!doctype html><title></title>{frame}", encoding="utf-8")
    width, visible, texts = json.loads(browser.drive(outer, script, tmp_path))
    assert width <= visible <= 390
    assert texts > 100
