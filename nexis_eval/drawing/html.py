"""Drawings as one HTML page that needs nothing else: to search, to follow, to read recipes in."""

from __future__ import annotations

import json
from pathlib import Path

from nexis_eval.drawing.recipe import recipe_lines
from nexis_eval.drawing.selection import Drawing
from nexis_eval.graph.builders import BUILDERS, Builder

PAGE = Path(__file__).with_name("graph.html")
RECIPES_UP_TO = 1000
"""Nodes for which the recipes are part of the page; of larger graphs they would be tens of megabytes."""


def _look(kind: type[Builder]) -> str:
    """Return the class of its style: what an executor runs stands out, what only brings sources in stands back."""
    return "runs" if kind.runs else "plumbing" if kind.plumbing else ""


def to_html(drawing: Drawing, title: str) -> str:
    """The page. Nothing in it is loaded from elsewhere."""
    index = {each: number for number, each in enumerate(drawing.edges)}
    with_recipes = len(index) <= RECIPES_UP_TO
    nodes = []
    for each in index:
        head = drawing.graph.head(each)
        nodes.append(
            {
                "id": str(each),
                "label": head.label,
                "platform": head.platform,
                "kind": head.kind,
                "look": _look(BUILDERS[head.kind]),
                "needs": [index[item] for item in drawing.edges[each]],
                "recipe": "\n".join(recipe_lines(drawing.graph, each)) if with_recipes else "",
            }
        )
    value = json.dumps({"title": title, "nodes": nodes}, ensure_ascii=False, separators=(",", ":"))
    # Inside a script element only this sequence could end it (https://html.spec.whatwg.org/#restrictions-for-contents-of-script-elements).
    return PAGE.read_text(encoding="utf-8").replace("{{graph}}", value.replace("<", "\\u003c"))
