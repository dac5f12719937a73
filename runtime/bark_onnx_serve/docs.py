"""/docs: the API as a page. It is one file without scripts, so it works offline and under a strict policy."""

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.responses import HTMLResponse, Response

_STYLE = """
:root { color-scheme: light dark; font-family: system-ui, sans-serif; line-height: 1.5 }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100% }
th, td { border: 1px solid #8888; padding: 0.3rem 0.6rem; text-align: left; vertical-align: top }
th, td, h2 { overflow-wrap: anywhere }
th:nth-child(3) { min-width: 4.5rem }
td:first-child { min-width: 7rem }
h2 { font-size: 1.25rem }
"""
_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; frame-ancestors 'none'"


def docs_routes(app: FastAPI) -> APIRouter:
    """The route /docs, for the routes that `app` has when the page is asked for."""
    router = APIRouter()

    @router.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(page(app.openapi()), headers={"Content-Security-Policy": _POLICY})

    return router


def page(document: Mapping[str, Any]) -> str:
    """An OpenAPI document as HTML."""
    title = escape(f"{document['info']['title']} {document['info']['version']}")
    routes = "".join(_routes(document))
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>'
        f'<body><h1>{title}</h1><p>As a document for programs: <a href="openapi.json">openapi.json</a></p>'
        f"{routes}</body></html>\n"
    )


def _routes(document: Mapping[str, Any]) -> Iterator[str]:
    schemas = document.get("components", {}).get("schemas", {})
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(operation.get('summary', ''))}</p>"
            if parameters := operation.get("parameters"):
                yield _table((field["name"], _described(field), field["required"]) for field in parameters)
            for kind, body in operation.get("requestBody", {}).get("content", {}).items():
                if reference := body["schema"].get("$ref"):
                    schema = schemas[reference.rpartition("/")[2]]
                    required = schema.get("required", ())
                    yield _table((name, field, name in required) for name, field in schema["properties"].items())
                else:
                    yield f"<p>The body: <code>{escape(kind)}</code></p>"


def _described(parameter: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**parameter["schema"], "description": parameter.get("description", "")}


def _table(fields: Iterable[tuple[str, Mapping[str, Any], bool]]) -> str:
    """A table of fields: their names, their schemas, and whether they are required."""
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(_values(field))}</td>"
        f"<td>{'required' if required else escape(_default(field))}</td>"
        f"<td>{escape(field.get('description', ''))}</td></tr>"
        for name, field, required in fields
    )
    return f"<table><tr><th>field</th><th>values</th><th>default</th><th>meaning</th></tr>{rows}</table>"


def _values(field: Mapping[str, Any]) -> str:
    """What a field may be, such as `number, from 0 to 100`."""
    if "anyOf" in field:
        return " or ".join(_values(choice) for choice in field["anyOf"] if choice.get("type") != "null")
    if "enum" in field:
        return ", ".join(field["enum"])
    limits = {"minimum": "from", "exclusiveMinimum": "over", "maximum": "to", "exclusiveMaximum": "under"}
    words = [f"{word} {_number(field[limit])}" for limit, word in limits.items() if limit in field]
    kind = str(field.get("type", '{"id": name}'))
    return f"{kind}, {' '.join(words)}" if words else kind


def _number(limit: float) -> str:
    """A limit without the `.0` that the schema gives to whole numbers; a power of two is shown as one."""
    whole = int(limit)
    if whole != limit:
        return str(limit)
    exponent = whole.bit_length() - 1
    return f"2^{exponent}" if whole > 1 << 20 and whole == 1 << exponent else str(whole)


def _default(field: Mapping[str, Any]) -> str:
    default = field.get("default")
    if default is None:
        return ""
    return _number(default) if isinstance(default, float) else str(default).lower()
