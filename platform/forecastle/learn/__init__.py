"""From training set to bundle: split, fit, tune, calibrate, evaluate, backtest, ensemble, card.

Belongs here: see the modules; this file holds no code, so that a served process imports only what it uses.
Does not belong here: which bundle may answer (`promote`), reading sources, HTTP, Dagster.
"""
