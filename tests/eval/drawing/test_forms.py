"""Drawings as text, as the languages of other tools, and as a page."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from nexis_eval.cli.main import run
from nexis_eval.drawing.html import to_html
from nexis_eval.drawing.selection import select
from nexis_eval.drawing.text import to_dot, to_mermaid, to_text
from nexis_eval.graph.dag import DerivationGraph
from nexis_store.errors import NexisError
from tests.eval.drawing.test_selection import diamond

EXAMPLE = str(Path(__file__).parents[3] / "examples/minimal")


@pytest.fixture
def graph() -> DerivationGraph:
    return diamond()


def test_a_tree_names_again_what_it_showed(graph: DerivationGraph) -> None:
    assert list(to_text(select(graph, [graph.targets.packages["left"]], plumbing=True))) == [
        "left (x86_64)",
        "  base (x86_64)",
        "    unpacked (x86_64)",
        "      archive (x86_64)",
    ]
    assert "    base (x86_64)" in list(to_text(select(graph, [graph.targets.packages["top"]])))


def test_graphviz_and_mermaid_have_each_node_and_edge_once(graph: DerivationGraph) -> None:
    drawing = select(graph, [graph.targets.packages["top"]])
    edges = sum(len(each) for each in drawing.edges.values())
    dot, mermaid = "\n".join(to_dot(drawing)), "\n".join(to_mermaid(drawing))
    assert dot.count("[label=") == len(drawing.edges)
    assert dot.count(" -> ") == mermaid.count(" --> ") == edges
    assert mermaid.count('["') == len(drawing.edges)


class Page(HTMLParser):
    """Collects what a page would load, and the data in it."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.data = ""
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.loads += [str(given[name]) for name in ("src", "href") if name in given]
        self._inside = given.get("id") == "graph"

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.data += data
            self._inside = False


def test_the_page_stands_alone_and_holds_the_graph(graph: DerivationGraph) -> None:
    page = Page()
    drawing = select(graph, [graph.targets.packages["top"]])
    text = to_html(drawing, "</script><b>top & co")
    page.feed(text)
    assert page.loads == []
    assert not re.search(r"@import|url\(", text)
    value = json.loads(page.data)
    assert value["title"] == "</script><b>top & co"
    assert [each["label"] for each in value["nodes"]] == [graph.derivations[each].label for each in drawing.edges]
    assert sum(len(each["needs"]) for each in value["nodes"]) == sum(len(each) for each in drawing.edges.values())
    assert "builder     union" in value["nodes"][-1]["recipe"]


def test_who_uses_zlib(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["graph", EXAMPLE, "--to", "zlib", "--depth", "1", "--reduce"]) == 0
    assert "  dropbear-2022.83 (x86_64)\n    zlib-1.2.13 (x86_64)\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--from", "zlib", "--to", "iso"), "zlib does not need iso"),
        (("zlib", "--from", "iso"), "'zlib' and --from iso both name the root"),
        (("--reduce", "--json"), "JSON holds whole recipes"),
        (("--to", "zlob"), "this system has no target 'zlob'"),
    ],
)
def test_what_cannot_be_drawn(options: tuple[str, ...], message: str) -> None:
    with pytest.raises(NexisError, match=message) as caught:
        run(["graph", EXAMPLE, *options])
    assert caught.value.exit_code == 2
