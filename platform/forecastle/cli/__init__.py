"""The forecastle command: thin verbs over the library.

Belongs here: see the modules; this file holds no code, so that a served process imports only what it uses.
Does not belong here: logic that another program could want.
"""
