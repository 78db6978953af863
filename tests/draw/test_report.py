"""The HTML report is complete, standalone and safe."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from forecastle.draw.markdown import value_text
from forecastle.draw.report import calibration_page, calibration_pictures
from forecastle.measure.calibration_report import CalibrationReport, ReportOptions, calibration_report

if TYPE_CHECKING:
    from collections.abc import Iterator

TITLE = "prediction_markets/lightgbm@7"
FACTS = {"data window": "2025-01-01 to 2025-05-01 UTC", "labels mature after": "6 hours"}
# Drawn, not written: a reader sees these tables as lines, and the JSON sidecar holds their numbers.
DRAWN = {"histogram", "murphy", "roc", "table", "calibrator"}


@pytest.fixture(scope="module")
def page(report: CalibrationReport) -> str:
    """The page of a report with every section."""
    return calibration_page(report, title=TITLE, facts=FACTS)


def shown_text(page: str) -> str:
    """What a reader can read: no tags, no pictures, no style."""
    bare = re.sub(r"(?s)<style>.*?</style>|<svg.*?</svg>", " ", page)
    return html.unescape(re.sub(r"<[^>]+>", " ", bare))


def numbers(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(path, number) of every number of the record that the page writes."""
    if isinstance(value, dict):
        for name, item in value.items():
            is_drawn = name in DRAWN and not (path.endswith(".recalibration") and name == "table")
            if not is_drawn and f"{path}.{name}" != ".curves.cumulative":
                yield from numbers(item, f"{path}.{name}")
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from numbers(item, f"{path}[{place}]")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path, value


def test_every_number_of_the_record_is_on_the_page(report: CalibrationReport, page: str) -> None:
    """Each number of the JSON record, but the points of drawn curves, is written on the page."""
    words = set(re.findall(r"[^\s;()=]+", shown_text(page).replace(", ", " ").replace(". ", " ")))
    found = dict(numbers(report.to_dict()))
    assert len(found) > 300
    percent = {".level": f"{report.level:.0%}"}
    missing = {
        path: value
        for path, value in found.items()
        if value_text(value) not in words and percent.get(re.sub(r".*\.", ".", path)) not in words
    }
    assert missing == {}


def test_header_verdict_and_sections(report: CalibrationReport, page: str) -> None:
    """Title, facts, verdict with reasons and all sections are there, in order."""
    text = shown_text(page)
    for said in (TITLE, *FACTS, *FACTS.values(), report.verdict.sentence, *report.verdict.reasons):
        assert said in text
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert headings == [
        "Scores", "Reliability", "Cumulative differences", "Discrimination", "Forecasts compared", "Numbers",
        "Segments", "Recalibration", "Time",
    ]  # fmt: skip
    assert page.count("<svg ") == len(calibration_pictures(report)) == 7


def test_the_page_stands_alone(page: str) -> None:
    """No script, no address, nothing fetched; the browser is told to refuse it too."""
    assert "<script" not in page
    assert "http:" not in page
    assert "https:" not in page
    assert not re.search(r'(?:src|href)="(?!#)', page)
    assert "default-src 'none'" in page


def test_names_cannot_inject_markup(report: CalibrationReport, page: str) -> None:
    """A segment value, a title and a fact that look like tags are written, not obeyed."""
    assert "<b>science" not in page
    assert "&lt;b&gt;science" in page
    attacked = calibration_page(report, title="<script>alert(1)</script>", facts={"<i>": "<img src=x onerror=y>"})
    assert "<script" not in attacked
    assert "<img" not in attacked


def test_ids_are_unique(page: str) -> None:
    """Seven pictures on one page share no id."""
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids)) > 0


def test_same_report_same_page(report: CalibrationReport, page: str) -> None:
    """Rendering again gives the same text."""
    assert calibration_page(report, title=TITLE, facts=FACTS) == page


def test_a_poor_report_still_has_a_page() -> None:
    """One class, no bands, no times: what is missing is left out and said in the notes."""
    report = calibration_report([0] * 60, [0.1, 0.2] * 30, bands=False, options=ReportOptions(resamples=100), seed=1)
    page = calibration_page(report, title="only losses")
    assert {"roc", "segments", "weeks"}.isdisjoint(calibration_pictures(report))
    assert report.notes
    for note in report.notes:
        assert note in shown_text(page)
    assert "<h2>Time</h2>" not in page


@pytest.mark.e2e
def test_a_browser_shows_it_without_complaint(page: str, tmp_path: Path) -> None:
    """Chromium opens the file, logs nothing, asks for nothing, and all pictures have a size."""
    playwright = pytest.importorskip("playwright.sync_api")
    if not Path("/usr/bin/chromium").exists():
        pytest.skip("/usr/bin/chromium is not installed")
    file = tmp_path / "report.html"
    file.write_text(page, encoding="utf-8")
    arguments = [
        "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync",
    ]  # fmt: skip
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=arguments)
        tab = browser.new_page(viewport={"width": 900, "height": 800})
        said: list[str] = []
        asked: list[str] = []
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(file.as_uri())
        sizes = tab.eval_on_selector_all("svg", "all => all.map(e => [e.clientWidth, e.clientHeight])")
        is_wider = tab.evaluate("document.documentElement.scrollWidth > window.innerWidth")
        browser.close()
    assert said == []
    assert asked == [file.as_uri()]
    assert len(sizes) == 7
    assert all(width > 300 and height > 200 for width, height in sizes)
    assert not is_wider
