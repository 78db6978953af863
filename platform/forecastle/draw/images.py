"""A figure as bytes or text: PNG for the Dagster UI and MLflow, SVG for pages, Markdown that holds the image.

Belongs here: encoding that gives the same bytes for the same figure (no dates, no versions, fixed ids).
Does not belong here: drawing, writing files.
"""

from __future__ import annotations

import base64
import html
import io
import re
from typing import TYPE_CHECKING

from PIL import Image

from forecastle.draw.style import look

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 150  # 6 inches become 900 pixels

_COLORS = 128
_ID = re.compile(r'(\bid="|url\(#|href="#)')
_TAG = re.compile(r"<svg[^>]*>")
_SIZE = re.compile(r'viewBox="[^"]*"')
_NO_BRACKETS = str.maketrans({"[": "(", "]": ")", "\n": " "})


def png_bytes(figure: Figure, *, dpi: int = DPI) -> bytes:
    """The figure as a PNG file; `dpi` pixels for each inch of its size."""
    drawn, packed = io.BytesIO(), io.BytesIO()
    with look():
        figure.savefig(drawn, format="png", dpi=dpi, pil_kwargs={"compress_level": 0})
    # Our pictures have few colours: a palette makes the file a third, and Dagster keeps it for ever.
    # `optimize` would take another twentieth off for seven times the time.
    image = Image.open(drawn).convert("RGB").quantize(_COLORS, dither=Image.Dither.NONE)
    image.save(packed, format="png", dpi=(dpi, dpi))
    return packed.getvalue()


def svg_text(figure: Figure) -> str:
    """The figure as a standalone SVG document; text stays text."""
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with look():
        figure.savefig(buffer, format="svg", metadata=nothing)
    return buffer.getvalue()


def inline_svg(figure: Figure, *, name: str, label: str) -> str:
    """The figure as an `<svg>` element for a page: every id starts with `name`, readers hear `label`.

    Namespaces and document type are left out, which an HTML parser does not need, so the element names no
    address.
    """
    document = svg_text(figure)
    body = _ID.sub(rf"\g<1>{name}-", document[document.index("<svg") :])
    size = _SIZE.search(body)
    assert size is not None, "matplotlib writes a viewBox"
    opening = f'<svg {size.group()} role="img" aria-label="{html.escape(label)}">'
    return _TAG.sub(lambda _: opening, body, count=1).replace("xlink:href", "href").strip()


def markdown_image(figure: Figure, *, label: str, dpi: int = DPI) -> str:
    """The figure as one Markdown image that carries its PNG, for Dagster metadata; `label` is its
    alternative text.
    """
    encoded = base64.b64encode(png_bytes(figure, dpi=dpi)).decode("ascii")
    return f"![{label.translate(_NO_BRACKETS)}](data:image/png;base64,{encoded})"
