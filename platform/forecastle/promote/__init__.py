"""From bundles to what answers: gates, approval, promotion, rollout and rollback, live worth, retraining.

Belongs here: see the modules; this file holds no code, so that a served process imports only what it uses.
Does not belong here: making a bundle (`learn`), answering (`serve`), Dagster.
"""
