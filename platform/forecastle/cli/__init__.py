"""The forecastle command: thin verbs over the library.

Belongs here: reading arguments and the environment, drawing progress, exit codes.
Does not belong here: logic that another program could want.
"""
