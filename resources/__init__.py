"""Doors from Dagster to the library: thin, configured at the edge, one a service.

Belongs here: ConfigurableResources, and the only reading of environment variables on Dagster's side (`environment.py`).
Does not belong here: logic; a resource hands out an object of `forecastle` and nothing more.
"""
