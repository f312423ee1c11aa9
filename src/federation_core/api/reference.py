"""The description of this API: as OpenAPI, and as a page."""

from typing import Any

from .context import Anyone
from .description.page import render
from .operation import operation

__all__ = ["openapi_json", "page"]

_TAG = "description"


@operation("GET", "/schema/openapi.json", tag=_TAG)
async def openapi_json(ask: Anyone) -> dict[str, Any]:
    """Describe the API, as OpenAPI 3.1."""
    return ask.api.document


@operation("GET", "/schema", tag=_TAG, media_type="text/html; charset=utf-8")
async def page(ask: Anyone) -> bytes:
    """Describe the API, as a page that loads nothing from anywhere."""
    return render(ask.api.document).encode()
