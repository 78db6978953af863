"""The graph: one file a kind of asset, a factory from one system to Definitions, and the composition root.

Belongs here: Dagster's words only; an asset asks a room of the library and reports what it saw.
Does not belong here: computation (`forecastle`), services (`resources`), one prediction problem (`systems`).
"""
