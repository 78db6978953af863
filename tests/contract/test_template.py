"""SQL templates: what a view's params fill, what is refused, and that views of one file keep their own lineage."""

from __future__ import annotations
