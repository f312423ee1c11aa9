"""Governed steps a second, beside a peer that runs the same workflow in the same session."""
