"""From training set to decision: split, fit, calibrate, registry, gates, card, bundle.

Belongs here: see the modules; this file holds no code, so that a served process imports only what it uses.
Does not belong here: reading sources, HTTP, Dagster.
"""
