"""The page that people see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

HIDDEN = ("id",)


def products_page(products: Sequence[Mapping[str, Any]], version: str, host: str, visits: int | None) -> str:
    """The products as HTML, with the version and the host that made it.

    Args:
        products: rows, all with the same columns; what a version adds is shown by itself.
        version: the release's.
        host: this host's name.
        visits: how often this host's page was seen; None: not counted.
    """
    columns = [name for name in (products[0] if products else {}) if name not in HIDDEN]
    head = "".join(_cell("th", name, _title(name)) for name in columns)
    rows = "".join(
        "<tr>" + "".join(_cell("td", name, _shown(name, row[name])) for name in columns) + "</tr>" for row in products
    )
    seen = "" if visits is None else f" · visit {visits}"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Harbour shop</title>'
        '<meta name="viewport" content="width=device-width"><link rel="stylesheet" href="/static/style.css"></head>'
        f"<body><h1>Harbour shop</h1><p>Everything for the quay.</p><table><tr>{head}</tr>{rows}</table>"
        f"<footer>version {escape(version)} on {escape(host)}{seen}</footer></body></html>\n"
    )


def _title(name: str) -> str:
    return "price" if name == "price_cents" else name


def _shown(name: str, value: object) -> str:
    if name == "price_cents" and isinstance(value, int):
        return f"€ {value / 100:.2f}"
    return str(value)


def _cell(tag: str, name: str, text: str) -> str:
    kind = ' class="number"' if name in ("price_cents", "sold") else ""
    return f"<{tag}{kind}>{escape(text)}</{tag}>"
