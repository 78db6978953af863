"""The pages a team looks at, in a real browser: what the graph, the model's run and the service show."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from tests.e2e.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e")]

DAGSTER, MLFLOW, SERVICE = "Dagster UI", "MLflow UI", "prediction service"
SYSTEM = "prediction_markets"
WAIT_MS = 60_000

LOCATION = "__repository__@forecastle"  # as workspace.yaml and `forecastle up` name it


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium of the machine; playwright downloads nothing."""
    path = shutil.which("chromium")
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("CI must look at the pages: install chromium")
        pytest.skip("chromium is not on this machine")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty page with room for a graph."""
    opened = browser.new_page(viewport={"width": 1600, "height": 1200})
    opened.set_default_timeout(WAIT_MS)
    yield opened
    opened.close()


def shown(page: Page, texts: Sequence[str], *, exact: bool = False) -> list[str]:
    """Those of the texts that stand on the page once it has drawn itself."""
    places = [page.get_by_text(text, exact=exact).first for text in texts]
    with suppress(PlaywrightTimeout):
        for place in places:
            place.wait_for(state="visible", timeout=WAIT_MS)
    return [text for text, place in zip(texts, places, strict=True) if place.is_visible()]


def address(stack: Stack, name: str, path: str) -> str:
    """The address of a page of one server."""
    return f"http://127.0.0.1:{stack.port(name)}{path}"


def test_dagster_shows_the_graph(stack: Stack, page: Page) -> None:
    """The system's group has its assets by name, from sources to the Bento."""
    # Graph and list draw only what lies in the window, so the window has room for every asset.
    page.set_viewport_size({"width": 2000, "height": 2400})
    page.goto(address(stack, DAGSTER, f"/locations/{LOCATION}/asset-groups/{SYSTEM}"))
    names = ["quotes", "market_polls", "training_set", "lightgbm", "promotion", "bento", "batch_predictions"]
    assert shown(page, names, exact=True) == names


def test_dagster_shows_the_reliability_picture(stack: Stack, page: Page) -> None:
    """The calibration asset says who owns it and how it did, and its picture opens behind [Show Markdown]."""
    page.goto(address(stack, DAGSTER, f"/assets/{SYSTEM}/calibration/lightgbm"))
    texts = ["Does lightgbm mean what it says", "miscalibration", "Freshness policy"]
    assert shown(page, texts) == texts
    page.get_by_text("[Show Markdown]").first.click()
    picture = page.locator("img[src^='data:image/png;base64,']").first
    expect(picture).to_be_visible(timeout=WAIT_MS)
    assert picture.evaluate("image => image.complete && image.naturalWidth") > 300


def test_mlflow_shows_the_champions_run(stack: Stack, page: Page) -> None:
    """Metrics of the model and of the baseline, and the tag that names the training set."""
    run = re.search(r"MLflow run ([0-9a-f]{32})", stack.text)[1]
    page.goto(address(stack, MLFLOW, f"/#/experiments/1/runs/{run}"))
    names = ["model.brier", "baseline.brier", "learning_rate"]
    assert shown(page, names, exact=True) == names
    assert shown(page, [SYSTEM]) == [SYSTEM]


def test_the_services_own_page_has_no_error(stack: Stack, page: Page) -> None:
    """Endpoints and the contract of every feature; the browser's console stays empty, nothing is fetched elsewhere."""
    said: list[str] = []
    asked: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            said.append(f"{message.text} {message.location}")

    page.on("console", note)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address(stack, SERVICE, "/docs"), wait_until="networkidle")
    body = page.inner_text("body")
    assert f"Forecastle: {SYSTEM}" in body
    assert [
        text for text in ("/predict", "/outcome", "market_price", "poll_avg_7d", "probability") if text not in body
    ] == []
    assert said == []
    assert {url.split("/")[2] for url in asked if "://" in url} == {f"127.0.0.1:{stack.port(SERVICE)}"}
