"""What a workflow and a run are, and what may happen next.

Pure: no I/O, no clock, no randomness; time and identifiers are parameters.
"""
