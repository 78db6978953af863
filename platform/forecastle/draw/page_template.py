"""The templates of standalone HTML pages.

Belongs here: how a template is opened, so that every page escapes what it shows and refuses a name it was not given.
Does not belong here: what a page shows (`card.py`, `report.py`).
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from forecastle.draw.markdown import value_text

if TYPE_CHECKING:
    from jinja2 import Template


@cache
def page_template(name: str) -> Template:
    """The template of that file name beside this module; its filter `value` writes a value for a person."""
    environment = Environment(
        loader=PackageLoader("forecastle", "draw"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["value"] = value_text
    return environment.get_template(name)
