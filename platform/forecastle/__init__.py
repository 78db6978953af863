"""Forecastle: declared prediction problems become calibrated, gated, audited probabilities.

Belongs here: the version, and the rooms `contract`, `measure`, `draw`, `alert`, `store`, `story`, `learn`, `promote`,
`serve`, `cli`.
Does not belong here: anything that knows Dagster (`assets/`, `resources/`) or one prediction problem (`systems/`).
"""

__version__ = "0.1.0"
