"""Renders the OpenAPI document as one self-contained HTML page; the browser loads nothing else."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from typing import Any

__all__ = ["HEADERS", "render"]

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:56rem;margin:2rem auto;padding:0 1rem}"
    "pre{background:#f4f4f4;padding:.75rem;overflow-x:auto}code,pre{font:14px/1.4 ui-monospace,monospace}"
    "h2{margin-top:2.5rem;border-top:1px solid #ccc;padding-top:1rem}table{border-collapse:collapse}"
    "td,th{text-align:left;vertical-align:top;padding:.25rem .75rem .25rem 0;border-bottom:1px solid #eee}"
    "@media(prefers-color-scheme:dark){body{background:#111;color:#ddd}pre{background:#222}a{color:#9cf}}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
# The page has no script and loads nothing; this header makes the browser enforce that.
HEADERS = {"Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; frame-ancestors 'none'"}

_CURL_HOST = "http://127.0.0.1:8080"


def render(document: dict[str, Any]) -> str:
    """Renders a document made by `openapi.describe`."""
    info = document["info"]
    routes = [
        _route(path, verb, operation) for path, verbs in document["paths"].items() for verb, operation in verbs.items()
    ]
    schemas = [_schema(name, schema) for name, schema in document["components"]["schemas"].items()]
    errors = "".join(_row(code, made["description"]) for code, made in document["components"]["responses"].items())
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{_escape(info["title"])}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        f"<h1>{_escape(info['title'])} {_escape(info['version'])}</h1><p>{_prose(info['description'])}</p>"
        '<p><a href="openapi.json">openapi.json</a> has the same content for programs. If the server needs a key, add '
        f"<code>-H 'Authorization: Bearer KEY'</code>.</p>{''.join(routes)}"
        f"<h2>Errors</h2><table>{errors}</table><h1>Schemas</h1>{''.join(schemas)}</body></html>"
    )


def _route(path: str, verb: str, operation: dict[str, Any]) -> str:
    command = f"curl {_CURL_HOST}{path}"
    parts = [f"<h2><code>{verb.upper()} {_escape(path)}</code></h2><p>{_prose(operation['summary'])}</p>"]
    if request_body := operation.get("requestBody"):
        content = request_body["content"]["application/json"]
        body = json.dumps(content["example"], indent=2)
        command += f" \\\n  -H 'Content-Type: application/json' -d '{body}'"
        parts.append(f"<p>Takes {_kind(content['schema'])}.</p>")
    parts.append(f"<pre>{_escape(command)}</pre>")
    good = operation["responses"]["200"]["content"].get("application/json", {})
    if good.get("schema", {}).keys() & {"$ref", "anyOf"}:
        parts.append(f"<p>Returns {_kind(good['schema'])}.</p>")
    if "example" in good:
        parts.append(f"<pre>{_escape(json.dumps(good['example'], indent=2))}</pre>")
    return "".join(parts)


def _schema(name: str, schema: dict[str, Any]) -> str:
    shape = next((part for part in schema.get("anyOf", ()) if "properties" in part), schema)
    rows = "".join(
        _row(f"{field}", inner.get("description", ""), _kind(inner))
        for field, inner in shape.get("properties", {}).items()
        if field.islower()  # camel case is accepted too, and says nothing new
    )
    about = _prose(shape.get("description", ""))
    return f'<h2 id="{_escape(name)}">{_escape(name)}</h2><p>{about}</p><table>{rows}</table>'


def _kind(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = _escape(schema["$ref"].rsplit("/", 1)[-1])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_kind(part) for part in schema["anyOf"])
    if "items" in schema:
        return f"list of {_kind(schema['items'])}"
    kinds = schema.get("type", "")
    return _escape(" or ".join(kinds) if isinstance(kinds, list) else str(kinds))


def _row(name: str, text: str, kind: str = "") -> str:
    middle = f"<td>{kind}</td>" if kind else ""
    return f"<tr><td><code>{_escape(name)}</code></td>{middle}<td>{_prose(text)}</td></tr>"


def _prose(text: str) -> str:
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", _escape(text))


def _escape(text: str) -> str:
    return html.escape(text)
