"""What each kind of step says about itself, and that nobody else has to know it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nexis_eval.execute.builtin import PERFORMERS
from nexis_eval.graph.builders import BUILDERS, Builder, Choice, Script
from tests.eval.graph.test_derivation import GOLDEN, SAMPLES

PROGRAM = Path(__file__).parents[3] / "nexis_eval"


@pytest.mark.parametrize("kind", BUILDERS)
def test_a_kind_says_all_about_itself(kind: str) -> None:
    builder = BUILDERS[kind]
    assert builder.kind == kind
    assert 0 < len(builder.verb) <= 8
    assert builder.usual_ns > 0
    assert builder.origin
    sample = SAMPLES[kind].builder
    assert type(sample) is builder
    assert kind in GOLDEN
    assert (builder.fixed is not Builder.fixed) == builder.fixed_output
    if not builder.fixed_output:
        assert sample.declared_tree() is None


def test_every_kind_is_performed() -> None:
    # An executor runs scripts, and a choice takes what another step made.
    assert {*PERFORMERS, Script, Choice} == {*BUILDERS.values()}


def test_nobody_asks_for_a_kind_by_its_name() -> None:
    """Not even in the page of a drawing."""
    names = "|".join(BUILDERS)
    comparison = re.compile(rf"""\.kind (?:==|!=|in|not in) \(?["'](?:{names})["']""")
    files = [*PROGRAM.rglob("*.py"), *PROGRAM.rglob("*.html")]
    assert [file.name for file in files if comparison.search(file.read_text(encoding="utf-8"))] == []
    page = (PROGRAM / "drawing/graph.html").read_text(encoding="utf-8")
    assert [kind for kind in BUILDERS if f".{kind} " in page] == []
