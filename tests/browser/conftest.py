"""The fake run, and a browser to look at its report with."""

import html
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from unittest import mock

import pytest

from harness.report import style
from tests.report import fake_run as module


@pytest.fixture(scope="session")
def fake_run() -> ModuleType:
    """The module that writes fake run folders."""
    return module


@pytest.fixture(scope="module", autouse=True)
def figures_for_pages() -> Iterator[None]:
    """A page holds its figures as SVG; the other formats take longer to draw than all the rest."""
    with mock.patch.object(style, "_PAPER", {}):
        yield


@dataclass(frozen=True)
class Browser:
    """Headless Chromium, one fresh profile a call."""

    program: str

    def _run(self, profile: Path, *flags: str) -> str:
        command = [
            self.program,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            f"--user-data-dir={profile}",
            *flags,
        ]
        found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
        return found.stdout

    def dom(self, page: Path, profile: Path) -> str:
        """The page's DOM after its scripts ran."""
        return self._run(profile, "--virtual-time-budget=4000", "--dump-dom", page.as_uri())

    def screenshot(self, page: Path, target: Path, size: tuple[int, int], profile: Path, *, dark: bool = False) -> Path:
        """A picture of the page."""
        scheme = ["--blink-settings=preferredColorScheme=0"] if dark else []
        window = f"--window-size={size[0]},{size[1]}"
        flags = (*scheme, "--hide-scrollbars", "--virtual-time-budget=4000", window, f"--screenshot={target}")
        self._run(profile, *flags, page.as_uri())
        return target

    def drive(self, page: Path, script: str, folder: Path) -> str:
        """What `script` (a function body) returns inside a copy of the page whose policy lets it in."""
        text = page.read_text(encoding="utf-8")
        text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
        probe = "window.addEventListener('load', () => {document.title = JSON.stringify((() => {%s})());});"
        copy = folder / "driven.html"
        copy.write_text(text + f"<script>{probe % script}</script>", encoding="utf-8")
        title = re.search(r"<title>(.*?)</title>", self.dom(copy, folder / "profile"), re.DOTALL)
        assert title is not None
        return html.unescape(title[1])


@pytest.fixture(scope="session")
def browser() -> Browser:
    """A Chromium, or a skip that says why."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    return Browser(program)
