"""Tables in, pictures out: matplotlib figures and the HTML report.

Belongs here: see the modules; this file holds no code, so that a served process imports only what it uses.
Does not belong here: statistics (they come from measure), files, Dagster.
"""
