"""The documentation's site builds without a warning, has every page, and needs no network."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from fresh_python import ROOT

pytest.importorskip("mkdocs", reason="the extra 'docs' is not installed")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_is_there_and_in_the_navigation(site: Path) -> None:
    told = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert f": {page.name}\n" in told, page.name
        assert (site / ("index.html" if page.stem == "index" else f"{page.stem}/index.html")).is_file()


def test_environments_are_told_by_their_docstrings(site: Path) -> None:
    text = (site / "environments" / "index.html").read_text(encoding="utf-8")
    for words in ("Action Space", "Observation Space", "Episode End", "Version History", "action_masks"):
        assert words in text


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r'<(?:script|img)[^>]*src="https?:[^"]*"|<link[^>]*stylesheet[^>]*href="https?:', text)
