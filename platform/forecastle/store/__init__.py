"""Rows with time: warehouse, feature SQL, point-in-time join, online store, prediction log.

Belongs here: see the modules; this file holds no code, so that a served process imports only what it uses.
Does not belong here: statistics, models, HTTP, Dagster.
"""
