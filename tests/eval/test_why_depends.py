"""Why one target needs another."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexis_eval.cli.main import run
from nexis_eval.cli.why_depends import relation, shortest_paths
from nexis_eval.graph.dag import DerivationGraph, GraphBuilder
from tests.eval.graphs import leaf, random_graphs, script

EXAMPLE = str(Path(__file__).parents[2] / "examples/minimal")


def test_build_time_and_run_time_are_told_apart() -> None:
    builder = GraphBuilder()
    compiler, library, data = (builder.add(leaf(name)) for name in ("compiler", "library", "data"))
    program = builder.add(replace(script("program", [compiler, library]), runtime=(library, data)))
    graph = builder.finish()
    assert [relation(graph, program, each) for each in (compiler, library, data)] == [
        "builds with",
        "builds and runs with",
        "runs with",
    ]


@given(random_graphs(), st.data())
def test_paths_are_shortest_and_each_step_is_an_edge(graph: DerivationGraph, data: st.DataObject) -> None:
    names = st.sampled_from(sorted(graph.targets.packages))
    source, needed = (graph.targets.packages[data.draw(names)] for _ in range(2))
    paths = shortest_paths(graph, source, needed)
    assert bool(paths) == (needed in graph.closure([source]))
    assert len({len(path) for path in paths}) <= 1
    assert len({tuple(path) for path in paths}) == len(paths)
    for path in paths:
        assert (path[0], path[-1]) == (source, needed)
        assert all(after in set(graph.needs(before)) for before, after in pairwise(path))


def test_as_a_person_asks(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["why-depends", EXAMPLE, "libpng", "zlib"]) == 0
    assert capsys.readouterr().out == "libpng-1.6.39\n  builds and runs with zlib-1.2.13\n"
    assert run(["why-depends", EXAMPLE, "images", "zlib", "--json"]) == 0
    (path,) = json.loads(capsys.readouterr().out)
    assert [each["label"] for each in path] == ["images", "ext2", "rootfs", "packages", "zlib-1.2.13"]
    assert [each["relation"] for each in path] == [None, *["builds with"] * 4]
    assert run(["why-depends", EXAMPLE, "zlib", "iso"]) == 1
    assert capsys.readouterr().out == "zlib does not need iso; iso needs zlib\n"


def test_an_empty_argument_is_not_taken_for_the_directory(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(["why-depends", EXAMPLE, "zlib", ""])
    assert "an argument is empty: is a variable in your script not set?" in capsys.readouterr().err
