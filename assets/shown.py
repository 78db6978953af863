"""How a materialisation shows tables, pictures and reasons in the UI: as Markdown.

Belongs here: Markdown of the library as Dagster metadata.
Does not belong here: which rows, pictures or reasons are shown (the asset says), the Markdown (`forecastle.draw`).
"""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg
import pandas as pd
from matplotlib.figure import Figure

from forecastle.draw.images import markdown_image
from forecastle.draw.markdown import markdown_table


def shown_table(table: pd.DataFrame, *, max_rows: int | None = None) -> dg.MarkdownMetadataValue:
    """The rows of a table; beyond `max_rows` a last line says how many are not shown."""
    return dg.MetadataValue.md(markdown_table(table, max_rows=max_rows))


def shown_picture(figure: Figure, *, label: str) -> dg.MarkdownMetadataValue:
    """A picture that the metadata carries itself; `label` is its alternative text."""
    return dg.MetadataValue.md(markdown_image(figure, label=label))


def shown_reasons(reasons: Iterable[str]) -> dg.MarkdownMetadataValue:
    """One reason a line."""
    return dg.MetadataValue.md("\n".join(f"- {reason}" for reason in reasons))
