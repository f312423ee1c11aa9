"""The OpenAPI document as one page of plain HTML: no script, and nothing from another host."""

import json
from html import escape
from typing import Any

from .schemas import Json

__all__ = ["render"]

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --ink: #2b6cb0; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
code, pre { font: 14px/1.45 ui-monospace, monospace }
pre { background: var(--soft); padding: .75rem; overflow-x: auto; border-radius: .4rem }
details { border: 1px solid var(--line); border-radius: .4rem; margin: .4rem 0; padding: 0 .8rem }
summary { cursor: pointer; padding: .5rem 0 } summary code { margin-right: .5rem }
.GET { color: #2f855a } .POST { color: #2b6cb0 } .PATCH { color: #b7791f }
.DELETE { color: #c53030 }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1rem }
th, td { text-align: left; vertical-align: top; border-bottom: 1px solid var(--line) }
th, td { padding: .25rem .6rem .25rem 0 } h2 { margin-top: 2.2rem } a { color: var(--ink) }
"""


def render(document: Json) -> str:
    """The page. Everything that stands in it comes from `document`, and is escaped."""
    info = document["info"]
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width'>",
        f"<title>{escape(info['title'])} API</title><style>{_STYLE}</style>",
        f"<h1>{escape(info['title'])} <small>{escape(info['version'])}</small></h1>",
        *(_paragraph(text) for text in info["description"].split("\n\n")),
        "<p>The same as <a href='/schema/openapi.json'>OpenAPI</a>.</p>",
    ]
    for tag in document["tags"]:
        parts.append(f"<h2>{escape(tag['name'])}</h2>{_paragraph(tag['description'])}")
        for path, methods in document["paths"].items():
            for method, told in methods.items():
                if tag["name"] in told["tags"]:
                    parts.append(_operation(document, method.upper(), path, told))
    parts.append("<h2 id=shapes>Shapes</h2>")
    for name, schema in document["components"]["schemas"].items():
        parts.append(_shape(name, schema))
    return "\n".join(parts) + "</html>\n"


def _operation(document: Json, method: str, path: str, told: Json) -> str:
    title = f"<code><b class={method}>{method}</b> {escape(path)}</code> {escape(told['summary'])}"
    scope = told.get("x-required-scope")
    parts = [_paragraph(told.get("description", ""))]
    if scope:
        parts.append(_paragraph(f"Scope: `{scope}`"))
    parts.append(_parameters(document, told.get("parameters", [])))
    if "requestBody" in told:
        parts.append(_content("Request", told["requestBody"]["content"]))
    for status, answer in told["responses"].items():
        if "$ref" not in answer:
            parts.append(_content(f"Answer {status}", answer["content"]))
    parts.append(_refusals(document, told["responses"]))
    return f"<details><summary>{title}</summary>{''.join(parts)}</details>"


def _parameters(document: Json, parameters: list[Json]) -> str:
    rows = []
    for parameter in parameters:
        found = _resolved(document, parameter)
        told = found.get("description", "")
        rows.append([f"`{found['name']}`", found["in"], _kind(found["schema"]), told])
    return _table(rows)


def _refusals(document: Json, responses: Json) -> str:
    rows = [
        [status, _resolved(document, answer)["description"]]
        for status, answer in responses.items()
        if "$ref" in answer
    ]
    return _table(rows)


def _content(title: str, content: Json) -> str:
    parts = []
    for media, told in content.items():
        parts.append(f"<p><b>{escape(title)}</b> <code>{escape(media)}</code> ")
        parts.append(f"{_text(_kind(told['schema']))}</p>")
        if "example" in told:
            shown = json.dumps(told["example"], indent=2, ensure_ascii=False)
            parts.append(f"<pre>{escape(shown)}</pre>")
    return "".join(parts)


def _shape(name: str, schema: Json) -> str:
    required = schema.get("required", [])
    rows = [
        [f"`{field}`", _kind(told), "required" if field in required else _default(told)]
        for field, told in schema.get("properties", {}).items()
    ]
    body = _paragraph(schema.get("description", "")) + _table(rows)
    title = f"<code>{escape(name)}</code>"
    return f"<details id='{escape(name)}'><summary>{title}</summary>{body}</details>"


def _kind(schema: Json) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        return f"`{schema['$ref'].rpartition('/')[2]}`"
    if "enum" in schema:
        return " | ".join("null" if v is None else str(v) for v in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(_kind(branch) for branch in schema["anyOf"])
    kind = str(schema.get("type", "any JSON value"))
    if kind == "array":
        kind = f"list of {_kind(schema.get('items', {}))}"
    limits = [told.format(schema[key]) for key, told in _LIMITS.items() if key in schema]
    return f"{kind} ({', '.join(limits)})" if limits else kind


_LIMITS = {
    "pattern": "like {}",
    "format": "as {}",
    "minimum": "from {}",
    "maximum": "to {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "maxItems": "at most {}",
}


def _default(schema: Json) -> str:
    return f"default {json.dumps(schema['default'])}" if "default" in schema else ""


def _resolved(document: Json, value: Json) -> Json:
    if "$ref" not in value:
        return value
    found: Any = document
    for name in value["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    return dict(found)


def _table(rows: list[list[str]]) -> str:
    if not rows:
        return ""
    lines = ("".join(f"<td>{_text(cell)}</td>" for cell in row) for row in rows)
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _paragraph(text: str) -> str:
    return f"<p>{_text(text)}</p>" if text else ""


def _text(text: str) -> str:
    """Escaped, with `…` as code."""
    parts = escape(text).split("`")
    return "".join(f"<code>{p}</code>" if i % 2 else p for i, p in enumerate(parts))
