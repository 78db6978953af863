"""What a system may say: declarations as frozen models, and the rules compiled from them.

Belongs here: `system.yaml` and feature SQL read strictly, contracts, and their two compilers (tables,
requests).
Does not belong here: rows, files of data, models, anything that runs a query. Imports nothing of ours.
"""
