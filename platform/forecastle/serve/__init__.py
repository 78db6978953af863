"""One request: resolve features, validate, predict, calibrate, log, answer with a receipt.

Belongs here: see the modules; this file holds no code, so that a served process imports only what it uses.
Does not belong here: training, Dagster, anything that needs pandas or MLflow in the served process.
"""
