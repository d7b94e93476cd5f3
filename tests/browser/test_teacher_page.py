import html
import json
import re
from pathlib import Path
from typing import Any

import matplotlib.image
import pytest

from harness.report.teacher_page import render
from tests.report.fake_teachers import NAMES, teachers

HOSTILE = (
    "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    "<svg onload=\"document.title='owned'\"><a href=\"javascript:document.title='owned'\">x</a>"
    "[click](javascript:document.title='owned') {{ 7 * 7 }} <!-- ]]> \u2028 \u202eesrever\u202c " + "long" * 500
)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(teachers(), tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = teachers(names=[*NAMES[:6], "evil" + HOSTILE], students=["base" + HOSTILE, "other"])
    data.about["family"] = "family" + HOSTILE
    return render(data, tmp_path_factory.mktemp("page"))


def test_nothing_hostile_runs(browser: Any, hostile_page: Path, tmp_path: Path) -> None:
    dom = browser.dom(hostile_page, tmp_path / "profile")
    title = re.search(r"<title>(.*?)</title>", dom, re.DOTALL)
    assert title is not None
    assert title[1] == "Teachers: fake-teachers"
    body = dom[dom.index("<body") :]
    assert "&lt;img src=x onerror=" in body
    assert "<img" not in body
    assert "{{ 7 * 7 }}" in body


def test_hostile_names_stay_text_even_without_the_policy(browser: Any, hostile_page: Path, tmp_path: Path) -> None:
    script = """
      const all = Array.from(document.querySelectorAll('*'));
      return {title: document.title, images: document.images.length, scripts: document.scripts.length,
        handlers: all.filter(e => Array.from(e.attributes).some(a => a.name.startsWith('on')
          || (/href$/.test(a.name) && !a.value.startsWith('#')))).length,
        width: document.documentElement.scrollWidth <= window.innerWidth,
        teachers: document.querySelectorAll('.board td').length > 30};
    """
    # Three scripts: the empty data, ours, and the one that asks.
    expected = {"title": "Teachers: fake-teachers", "images": 0, "scripts": 3, "handlers": 0}
    assert json.loads(browser.drive(hostile_page, script, tmp_path)) == expected | {"width": True, "teachers": True}


def test_heads_sort_ranks_sizes_and_scores_as_numbers(browser: Any, page: Path, tmp_path: Path) -> None:
    script = """
      const table = document.querySelector('.board table'), heads = Array.from(table.tHead.rows[0].cells);
      const out = {};
      for (const name of ['rank', 'size', 'Loss']) {
        const k = heads.findIndex(h => h.textContent.trim().startsWith(name));
        const column = () => Array.from(table.tBodies[0].rows, r => Number(r.cells[k].dataset.sort));
        heads[k].click(); const up = column(); heads[k].click();
        out[name] = [up, column(), heads[k].getAttribute('aria-sort')];
      }
      return out;
    """
    for up, down, said in json.loads(browser.drive(page, script, tmp_path)).values():
        assert len(up) == len(NAMES)
        assert up == sorted(up)
        assert down == sorted(up, reverse=True)
        assert said == "descending"


def test_the_script_runs_without_an_error(browser: Any, page: Path, tmp_path: Path) -> None:
    text = page.read_text(encoding="utf-8")
    listen = (
        "<script>window.faults = []; window.addEventListener('error', e => window.faults.push(e.message));</script>"
    )
    copy = tmp_path / "listening.html"
    copy.write_text(text.replace("<title>", listen + "<title>", 1), encoding="utf-8")
    script = "return [window.faults, document.querySelectorAll('table.sortable th[tabindex]').length > 20]"
    assert json.loads(browser.drive(copy, script, tmp_path)) == [[], True]


def test_dark_is_dark_and_light_is_light(browser: Any, page: Path, tmp_path: Path) -> None:
    means = {}
    for dark in (False, True):
        shot = browser.screenshot(page, tmp_path / f"{dark}.png", (1280, 2400), tmp_path / f"profile{dark}", dark=dark)
        means[dark] = float(matplotlib.image.imread(shot)[..., :3].mean())
    assert means[False] > 0.85
    assert means[True] < 0.25


def test_a_phone_needs_no_sideways_scrolling(browser: Any, page: Path, tmp_path: Path) -> None:
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
