"""The page at / : what the server answers, with an example of each path to copy."""

from __future__ import annotations

import json
from typing import Any

from pipelines.report.page import render

TEMPLATE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{{ health.pipeline }} · folio serve</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem }
pre { background: #8881; padding: .8rem; overflow: auto; border-radius: 4px }
td, th { text-align: left; padding: .15rem 1rem .15rem 0; vertical-align: top }
@media (prefers-color-scheme: dark) { body { background: #161616; color: #ddd } a { color: #8cf } }
</style>
<h1>{{ health.pipeline }}, version {{ health.version }}</h1>
<p>A {{ health.kind | replace("_", " ") }}{{ ", trained on the sample text" if health.sample }},
loaded {{ health.loaded }}. <a href="/health">/health</a>
· <a href="/openapi.json">/openapi.json</a></p>
{% if health.problem is defined %}<p><strong>{{ health.problem }}</strong></p>{% endif %}
{% for path, summary, fields, example in asked %}
<h2>POST {{ path }}</h2>
<p>{{ summary }}</p>
<pre>curl -s {{ address }}{{ path }} -d '{{ example }}'</pre>
<table><tr><th>field<th>default<th>meaning</tr>
{% for field in fields %}<tr><td>{{ field.name }}<td>{{ field.default }}<td>{{ field.text }}</tr>
{% endfor %}</table>
{% endfor %}
<p>Errors have status 422 or 503 and one line, <code>{"detail": "…"}</code>.</p>
</html>
"""
EXAMPLES = {"texts": ["A film to remember."], "starts": ["The "]}


def page(address: str, health: dict[str, Any], described: dict[str, Any]) -> str:
    asked = [
        (path, methods["post"]["summary"], _fields(methods["post"]), _example(methods["post"]))
        for path, methods in described["paths"].items()
        if "post" in methods
    ]
    return render(TEMPLATE, address=address, health=health, asked=asked)


def _properties(method: dict[str, Any]) -> dict[str, Any]:
    return method["requestBody"]["content"]["application/json"]["schema"]["properties"]


def _fields(method: dict[str, Any]) -> list[dict[str, str]]:
    return [
        {
            "name": name,
            "default": json.dumps(schema["default"]) if "default" in schema else "required",
            "text": schema.get("description", ""),
        }
        for name, schema in _properties(method).items()
    ]


def _example(method: dict[str, Any]) -> str:
    return json.dumps({k: v for k, v in EXAMPLES.items() if k in _properties(method)})
