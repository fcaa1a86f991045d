"""reports/report.html in a real browser: readable at any width, light and dark, silent, and asking for nothing."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import finished
import starter
from browser import Browser
from trunkline.operations import report
from trunkline.stages import compare

COUNT = 120
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on PATH: `.ci/packages` installs it (Debian package chromium)"
)
VIEWS = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The page of a run whose answers hold text that would run, load or overflow if it could."""
    folder, before = tmp_path_factory.mktemp("page"), Path.cwd()
    os.chdir(folder)
    try:
        (folder / "src").mkdir()
        (folder / "src/project.py").write_text("")
        (folder / "dvc.yaml").write_text("stages: {}\n")
        subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "-q"], check=True, capture_output=True)
        finished.holdout(folder, COUNT)
        hostile = '<script>console.log("run")</script><img src="https://example.com/x.png"> ' + "long" * 90
        for side, part, wrong in (("production", 0.3, hostile), ("candidate", 0.9, "no")):
            finished.predict(folder, side, finished.share(COUNT, part, seed=len(side)), wrong=wrong)
            finished.bundle(folder, side)
        finished.reports(folder)
        settings = starter.settings(
            folder,
            gate__guardrails={"valid_json": 0.01, "tokens_out": 0.25, "latency_ms_p95": 0.5},
            gate__floors={"valid_json": 0.7},
            gate__dry_run=["tokens_out"],
        )
        compare.run(settings)
        report.run(settings)
        yield folder / report.PAGE
    finally:
        os.chdir(before)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert CHROMIUM is not None
    with Browser(CHROMIUM) as running:
        yield running


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
def test_it_fits_the_window_says_nothing_and_asks_for_nothing_but_itself(browser, page, width, scheme):
    """Set TRUNKLINE_PICTURES to a folder to look at what was tested."""
    browser.visit(page, width, scheme)
    if os.environ.get("TRUNKLINE_PICTURES"):
        browser.picture(Path(os.environ["TRUNKLINE_PICTURES"]) / f"report-{width}-{scheme}.png", width, 3200)
    assert browser.value("document.documentElement.scrollWidth") <= width
    assert browser.said == []
    assert browser.asked == [page.resolve().as_uri()]


CONTRASTS = """
(() => {
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).map((v) => v / 255)
      .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const paper = light(getComputedStyle(document.body).backgroundColor);
  const found = {paper};
  for (const where of ["body", ".soft", ".pass", "th", ".worse", ".better"]) {
    const ink = light(getComputedStyle(document.querySelector(where)).color);
    found[where] = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
  }
  return found;
})()
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_the_paper_in_both_colour_schemes(browser, page, scheme):
    """4.5 is what WCAG 2.2 (1.4.3, AA) asks for."""
    browser.visit(page, 1280, scheme)
    found = browser.value(CONTRASTS)
    assert (found.pop("paper") > 0.5) == (scheme == "light")
    assert {where: ratio for where, ratio in found.items() if ratio < 4.5} == {}


def test_on_a_phone_every_number_of_a_table_stands_beside_its_name(browser, page):
    browser.visit(page, 390, "light")
    assert browser.value("getComputedStyle(document.querySelector('.stack td.n')).display") == "flex"
    names = browser.value("[...document.querySelectorAll('.stack td.n')].map((cell) => cell.dataset.name)")
    assert names and all(names)


SEARCH = """
(() => {
  const [text, change] = [document.querySelector(".search input"), document.querySelector(".search select")];
  text.value = %s; change.value = %s;
  text.dispatchEvent(new Event("input")); change.dispatchEvent(new Event("change"));
  const shown = [...document.querySelectorAll("#examples tbody tr")].filter((row) => row.offsetHeight > 0);
  return [document.querySelector(".search output").textContent, shown.length, shown.map((row) => row.textContent)];
})()
"""


@pytest.mark.parametrize("width", [1280, 390])
def test_the_search_shows_the_examples_that_hold_every_word(browser, page, width):
    browser.visit(page, width, "light")
    told, shown, texts = browser.value(SEARCH % ('"LOST card"', '""'))
    assert told == f"{shown} of {COUNT}"
    assert 0 < shown < COUNT
    assert all("lost" in text.lower() and "card" in text.lower() for text in texts)
    told, better, texts = browser.value(SEARCH % ('"lost card"', '"better"'))
    assert 0 < better < shown
    assert all(text.endswith("better") for text in texts)
    assert browser.value(SEARCH % ('"nobody wrote this"', '""'))[0] == f"0 of {COUNT}"
    assert browser.value(SEARCH % ('""', '""'))[0] == f"{COUNT} of {COUNT}"


def test_what_models_write_is_shown_and_never_run(browser, page):
    browser.visit(page, 1280, "light")
    assert '<script>console.log("run")</script>' in browser.value("document.querySelector('#examples').textContent")
    assert browser.value("document.querySelectorAll('script, img').length") == 1
