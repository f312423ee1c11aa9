"""Policy: Cedar bundles, and the decision before every step.

`load_bundle` checks and compiles the files of a bundle; `decide` puts a request to it; `tighten`
joins the answers of two. Deciding is pure: `judge` is `decide` without the clock. Only `folder`
reads files.
"""

from .annotations import PolicyEffect, PolicyInfo
from .bundle import Bundle, bundle_hash, check_bundle, load_bundle
from .decider import decide
from .folder import read_bundle_folder, shipped_bundle
from .verdict import judge, tighten

__all__ = [
    "Bundle",
    "PolicyEffect",
    "PolicyInfo",
    "bundle_hash",
    "check_bundle",
    "decide",
    "judge",
    "load_bundle",
    "read_bundle_folder",
    "shipped_bundle",
    "tighten",
]
