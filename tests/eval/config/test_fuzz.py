"""Whatever a file holds, loading gives a configuration or errors with places that can be shown; never a bug."""

from __future__ import annotations

import datetime
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import tomli
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nexis_eval.config.errors import ConfigErrors
from nexis_eval.config.load import load
from nexis_eval.config.reference import toml_key, toml_text
from nexis_eval.config.settings import DIRECTIVES, PART_DOCS, SECTIONS, Form, Section
from nexis_eval.diagnostics import as_json, as_sarif, render

SPEC = Path(__file__).parent / "spec"


@pytest.fixture(scope="module", autouse=True)
def directory() -> Iterator[None]:
    """A copy of the sample, in which the fuzzed file is ``system.toml``."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        shutil.copytree(SPEC, name, dirs_exist_ok=True)
        os.chdir(name)
        yield
        os.chdir(before)


def survive(data: bytes) -> None:
    Path("system.toml").write_bytes(data)
    try:
        config = load(Path("system.toml"), profiles=["p"] if b"profile" in data else [])
    except ConfigErrors as error:
        assert error.errors
        for each in error.errors:
            assert each.place is not None
            assert each.message
            assert each.hint
            as_json(each)
        shown = render(error, colour=False)
        assert all(line.replace("\t", " ").isprintable() for line in shown.split("\n"))
        as_sarif(error.errors, "1")
    else:
        for name in config.packages:
            place = config.place(("packages", name))
            assert place is not None
            assert place.line > 0


SAMPLE = (SPEC / "system.toml").read_bytes()


@settings(deadline=None, max_examples=80)
@given(st.integers(0, len(SAMPLE)), st.integers(0, 12), st.binary(max_size=6))
def test_damaged_files(at: int, length: int, instead: bytes) -> None:
    survive(SAMPLE[:at] + instead + SAMPLE[at + length :])


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_files_with_lines_out_of_place(data: st.DataObject) -> None:
    lines = SAMPLE.splitlines(keepends=True)
    taken = data.draw(st.lists(st.sampled_from(lines), max_size=25))
    survive(b"".join(taken))


TEXTS = st.sampled_from(
    [
        *("", "x", "a b", "zlib", "/etc/x", "../x", "https://example.org/{version}", "mirror://nowhere/x", "sha256:00"),
        *("sha256:" + "0" * 64, "0644", "true", "é\u202e\x1b[2J", "$6$x$y", "10.0.0.1/8", "10.0.0.1", "system.toml"),
        *(".", "*", "x" * 300, "\n"),
    ]
)
SCALARS = st.one_of(
    TEXTS,
    st.booleans(),
    st.sampled_from([0, 1, -1, 2**70, 1.5, datetime.date(2024, 1, 1), datetime.time(1, 2)]),
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=4,
)


def table(section: Section) -> st.SearchStrategy[object]:
    known = st.dictionaries(st.sampled_from([*section.settings, "name", "nonsense"]), ANYTHING, max_size=5)
    if section.form is Form.LIST:
        return st.lists(known, max_size=3)
    if section.form is Form.NAMED:
        return st.dictionaries(st.sampled_from(["root", "a", "B c"]), known, max_size=2)
    if section.form is Form.FREE:
        return st.dictionaries(TEXTS, ANYTHING, max_size=3)
    return known


PART = st.fixed_dictionaries(
    {}, optional={each.path[0]: table(each) for each in (*SECTIONS, *DIRECTIVES) if len(each.path) == 1}
)
FILES = st.fixed_dictionaries(
    {},
    optional={
        **{each.path[0]: st.one_of(table(each), ANYTHING) for each in (*SECTIONS, *DIRECTIVES) if len(each.path) == 1},
        **{name: st.one_of(PART, ANYTHING) for name in PART_DOCS if name in ("default", "force")},
        "arch": st.dictionaries(
            st.sampled_from(["x86", "x86_64", "riscv64", "vax"]), st.one_of(PART, ANYTHING), max_size=2
        ),
        "profile": st.dictionaries(st.sampled_from(["p", "q"]), st.one_of(PART, ANYTHING), max_size=2),
        "nonsense": ANYTHING,
    },
)


@settings(deadline=None, max_examples=60)
@given(FILES)
@example({"packages": [{"name": "a"}], "force": {"packages": [{"name": "a", "env": {"A": 1}}]}})
def test_any_values_at_any_place(values: dict[str, object]) -> None:
    text = "".join(f"{toml_key(key)} = {toml_text(value)}\n" for key, value in values.items())
    tomli.loads(text)
    survive(text.encode())
