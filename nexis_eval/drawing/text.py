"""Drawings as lines of text: a tree, and the languages of Graphviz and Mermaid."""

from __future__ import annotations

from collections.abc import Iterator

from nexis_eval.drawing.selection import Drawing
from nexis_store.digest import DerivationId


def to_text(drawing: Drawing) -> Iterator[str]:
    """A tree; what was shown before is only named again."""
    seen: set[DerivationId] = set()
    pending = [(each, 0) for each in reversed(drawing.first())]
    while pending:
        each, depth = pending.pop()
        head = drawing.graph.head(each)
        again = each in seen and bool(drawing.edges[each])
        yield f"{'  ' * depth}{head.label} ({head.platform}){' …' if again else ''}"
        if not again:
            seen.add(each)
            pending.extend((needed, depth + 1) for needed in reversed(drawing.edges[each]))


def to_dot(drawing: Drawing) -> Iterator[str]:
    """The language of Graphviz (https://graphviz.org/doc/info/lang.html)."""
    yield "digraph system {"
    yield "  rankdir=LR; node [shape=box, fontname=sans];"
    for each in drawing.edges:
        head = drawing.graph.head(each)
        label = head.label.replace("\\", "\\\\").replace('"', '\\"')
        yield f'  "{str(each)[:12]}" [label="{label}\\n{head.platform}"];'
    for each, needed in drawing.edges.items():
        for item in needed:
            yield f'  "{str(each)[:12]}" -> "{str(item)[:12]}";'
    yield "}"


def to_mermaid(drawing: Drawing) -> Iterator[str]:
    """A Mermaid flow chart (https://mermaid.js.org/syntax/flowchart.html), which many forges draw."""
    yield "flowchart LR"
    for each in drawing.edges:
        label = drawing.graph.head(each).label.replace('"', "#quot;")
        yield f'  n{str(each)[:12]}["{label}"]'
    for each, needed in drawing.edges.items():
        for item in needed:
            yield f"  n{str(each)[:12]} --> n{str(item)[:12]}"
