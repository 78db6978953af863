"""The same figure gives the same bytes, small enough for metadata, safe inside a page."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pandas as pd
import pytest
from PIL import Image

import forecastle
from forecastle.draw.images import inline_svg, markdown_image, png_bytes, svg_text
from forecastle.draw.importance import importance_bars

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def bars(name: str = "market_price") -> Figure:
    return importance_bars(pd.DataFrame({"feature": [name, "volume_24h"], "importance": [3.0, 1.0]}))


@pytest.mark.parametrize("encode", [png_bytes, svg_text, lambda figure: inline_svg(figure, name="a", label="b")])
def test_same_input_same_bytes(encode) -> None:
    """Two figures of one table, and one figure encoded twice, give the same bytes."""
    figure = bars()
    assert encode(figure) == encode(figure) == encode(bars())


def test_a_png_is_six_inches_at_150_dots() -> None:
    """The picture is 900 pixels wide, and scales with the dots per inch asked for."""
    assert Image.open(io.BytesIO(png_bytes(bars()))).size[0] == 6 * 150
    assert Image.open(io.BytesIO(png_bytes(bars(), dpi=75))).size[0] == 6 * 75


def test_the_palette_keeps_the_colours() -> None:
    """Packing into a palette leaves the bars blue and the ground white."""
    colours = Image.open(io.BytesIO(png_bytes(bars()))).convert("RGB").getcolors(maxcolors=1 << 20)
    common = [colour for _, colour in sorted(colours, reverse=True)[:2]]
    assert common == [(255, 255, 255), (0, 0x72, 0xB2)]


def test_markdown_carries_the_png_itself() -> None:
    """The Markdown image decodes to the PNG; brackets in its label do not end it."""
    figure = bars()
    found = re.fullmatch(
        r"!\[a \(b\) c\]\(data:image/png;base64,([A-Za-z0-9+/=]+)\)", markdown_image(figure, label="a [b]\nc")
    )
    assert found is not None
    assert base64.b64decode(found[1]) == png_bytes(figure)


def test_svg_is_a_document_without_dates_or_versions() -> None:
    """A standalone SVG parses as XML and says nothing of when or by which version it was drawn."""
    text = svg_text(bars())
    assert ET.fromstring(text).tag.endswith("svg")
    assert "<metadata>" not in text


def test_inline_svg_names_no_address_and_owns_its_ids() -> None:
    """An element for a page has no URL, all its ids start with its name, and all references find one."""
    element = inline_svg(bars(), name="importance", label='shares & "more"')
    assert "http" not in element
    assert element.startswith("<svg viewBox=")
    assert 'aria-label="shares &amp; &quot;more&quot;"' in element
    ids = set(re.findall(r'\bid="([^"]+)"', element))
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', element))
    assert ids
    assert all(name.startswith("importance-") for name in ids)
    assert used <= ids


def test_names_cannot_break_out() -> None:
    """A feature named like markup or mathematics is drawn as it is written."""
    element = inline_svg(bars("<script>$x_1$</script>"), name="a", label="b")
    assert "&lt;script&gt;$x_1$&lt;/script&gt;" in element
    assert "<script" not in element


def test_same_bytes_in_every_process_and_thread() -> None:
    """Another process with other hashing, and four threads at once, give the bytes of this one."""
    code = (
        "import hashlib, pandas as pd; from forecastle.draw import images, importance;"
        "table = pd.DataFrame({'feature': ['market_price', 'volume_24h'], 'importance': [3.0, 1.0]});"
        "figure = importance.importance_bars(table);"
        "svg = images.svg_text(figure).encode();"
        "print(hashlib.sha256(images.png_bytes(figure) + svg).hexdigest())"
    )
    environment = {"PYTHONPATH": str(Path(forecastle.__file__).parents[1]), "PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)

    def digest(_: int) -> str:
        figure = bars()
        return hashlib.sha256(png_bytes(figure) + svg_text(figure).encode()).hexdigest()

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(digest, range(8))) == {done.stdout.strip()}
