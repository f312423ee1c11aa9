"""The HTTP API: thin routes over `FederationCore`."""

from .application import OPERATIONS, build_app
from .auth import Auth

__all__ = ["OPERATIONS", "Auth", "build_app"]
