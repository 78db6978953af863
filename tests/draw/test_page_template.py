"""Templates of pages escape what they show and refuse what they were not given."""

from __future__ import annotations

import pytest
from jinja2 import UndefinedError

from forecastle.draw.page_template import page_template

PAGES = ["model_card.html.j2", "calibration_report.html.j2"]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_that_lacks_a_name_is_refused(name: str) -> None:
    """A forgotten value is an error, not an empty place."""
    with pytest.raises(UndefinedError, match="undefined"):
        page_template(name).render()


@pytest.mark.parametrize("name", PAGES)
def test_a_template_escapes_what_it_shows(name: str) -> None:
    """A name of a column is no markup."""
    found = page_template(name).environment.from_string("{{ told }} {{ 0.5 | value }}")
    assert found.render(told="<b>&") == "&lt;b&gt;&amp; 0.5"
