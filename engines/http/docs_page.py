"""The page at /docs: what /openapi.json says, for eyes; FastAPI's own page loads scripts from elsewhere."""

from collections.abc import Mapping
from html import escape
from typing import Any

STYLE = """
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; border-top: 1px solid #8886 }
code { font-family: ui-monospace, monospace; overflow-wrap: anywhere } .wide { overflow-x: auto }
"""


def docs_html(api: Mapping[str, Any]) -> str:
    """Return the page.

    Args:
        api: The OpenAPI document.
    """
    parts = []
    for path, methods in api["paths"].items():
        for method, operation in methods.items():
            parts.append(f"<h2><code>{escape(method.upper())} {escape(path)}</code></h2>")
            parts.append(f"<p>{escape(operation.get('description', operation.get('summary', '')))}</p>")
            content = operation.get("requestBody", {}).get("content", {})
            for schema in (kind["schema"] for kind in content.values()):
                parts.append(_fields(schema))
    title = f"{escape(api['info']['title'])} {escape(api['info']['version'])}"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head><body><h1>{title}</h1><p>{escape(api['info']['description'])} "
        f'The same for programs: <a href="/openapi.json">/openapi.json</a>. A page that draws: <a href="/">/</a>.</p>'
        f"{''.join(parts)}</body></html>"
    )


def _fields(schema: Mapping[str, Any]) -> str:
    """Return a table of a body's fields."""
    required = schema.get("required", [])
    rows = [
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(_values(field))}</td>"
        f"<td>{escape(field.get('description', ''))}{' Required.' if name in required else ''}</td></tr>"
        for name, field in schema["properties"].items()
    ]
    head = "<tr><th>field</th><th>values</th><th>what it does</th></tr>"
    return f'<div class="wide"><table>{head}{"".join(rows)}</table></div>'


def _values(field: Mapping[str, Any]) -> str:
    """Return what a field may be, in words."""
    if "anyOf" in field:
        return " or ".join(_values(kind) for kind in field["anyOf"])
    if "enum" in field:
        return ", ".join(map(str, field["enum"]))
    smallest, largest = field.get("minimum", field.get("exclusiveMinimum")), field.get("maximum")
    bounds = "" if smallest is None else f" from {smallest}" + ("" if largest is None else f" to {largest}")
    return f"{field.get('type', 'any')}{bounds}"
