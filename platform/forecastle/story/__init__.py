"""Simulated worlds, what goes wrong in them, and whether it was noticed.

Belongs here: see the modules; this file holds no code.
Does not belong here: one system's simulator (`systems/`), the days of a month (`assets/`), noticing.
"""
