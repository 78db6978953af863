"""What the platform noticed: the alert log, who is told, and the telling.

Belongs here: see the modules; this file holds no code.
Does not belong here: noticing (`measure`, `store`, the checks of `assets`), Dagster.
"""
