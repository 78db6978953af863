"""A model card as Markdown and as one standalone HTML page, from the same sections.

Belongs here: how sections of text, lists, tables and one picture are written in either.
Does not belong here: what a card says (`learn/card.py`), how a picture looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd
from markupsafe import Markup

from forecastle.draw.images import inline_svg
from forecastle.draw.markdown import markdown_table
from forecastle.draw.page_template import page_template

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Picture:
    """A figure of the page, with the name its ids begin with and what it shows."""

    figure: Figure
    name: str
    label: str


@dataclass(frozen=True)
class Section:
    """One part of a card: a title ("" for what stands on top), text, list items, tables, pictures, in that order."""

    title: str
    text: str = ""
    items: Sequence[str] = ()
    tables: Sequence[pd.DataFrame] = ()
    pictures: Sequence[Picture] = field(default=())


def card_markdown(title: str, sections: Sequence[Section]) -> str:
    """The card as Markdown; of a picture only its label is left."""
    parts = [f"# {title}"]
    for section in sections:
        parts += [f"## {section.title}"] if section.title else []
        parts += [section.text] if section.text else []
        parts += ["\n".join(f"- {item}" for item in section.items)] if section.items else []
        parts += [markdown_table(table) for table in section.tables]
        parts += [f"_{picture.label}: see the page._" for picture in section.pictures]
    return "\n\n".join(parts) + "\n"


def card_page(title: str, sections: Sequence[Section]) -> str:
    """The card as an HTML document with inline pictures, no script, nothing fetched; same sections, same text."""
    return page_template("model_card.html.j2").render(title=title, sections=sections, numeric=_numeric, svg=_svg)


def _svg(picture: Picture) -> Markup:
    return Markup(inline_svg(picture.figure, name=picture.name, label=picture.label))  # noqa: S704  # our own SVG


def _numeric(table: pd.DataFrame, column: str) -> bool:
    return pd.api.types.is_numeric_dtype(table[column].dtype)
