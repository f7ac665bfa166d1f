"""The position finder: every key that tomli knows has a place, and its text there is its value."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from nexis_eval.config.positions import Positions, UnreadableError, find, line_and_column

TRICKY = {
    "dotted keys": 'a.b."c d".\'e.f\' = 1\na.b.x = 2\n"" = 3\nq . r = 4\n1.2 = 5\n',
    "inline tables": 'a = { b = 1, c.d = "}", e = { f = [ { g = 1 }, { } ] } } # }\n',
    "inline tables that end a line": "a = {b = true, c = false}\nd = [{e = 1}]\nf = {g = [1]}\n",
    "arrays": 'a = [ # comment ]\n  1, "]", [ 2,\n 3 ], # more\n]\nb = []\nc = [\n]\n',
    "arrays of tables": "[[a]]\nx = 1\n[a.b]\ny = 1\n[[a.c]]\nz = 1\n[[a.c]]\n[[a]]\n[[a.c]]\nw = 2\n",
    "super-tables": "[x.y.z]\na = 1\n[x]\nb = 2\n[x.y]\nc = 3\n",
    "quoted tables": '["a.b".\'c"d\']\nx = 1\n[[ "e" . f ]]\ny = 2\n',
    "strings": 'a = "\\"]"\nb = \'\\\'\nc = """\n[not.a.table]\nx = 1 """\n'
    'd = """a""b"""\ne = """x"""""\nf = \'\'\'y\'\'\'\'\'\n',
    "escapes in keys": '"\\u00e9\\t\\"" = 1\n["\\\\"]\na = 1\n',
    "numbers and dates": "a = 0xdead_beef\nb = -1e6\nc = 1979-05-27 07:32:00\n"
    "d = 07:32:00.5\ne = +inf\nf = 1979-05-27T07:32:00Z\n",
    "comments": "# [x]\na = 1 # b = 2\n#\n\n  # c\n[t] # c\n  b = true# d\n",
    "windows": 'a = 1\r\n[b]\r\nc = """x\r\ny"""\r\nd = [\r\n1,\r\n]\r\n',
    "unicode": 'a = "日本語 é 🎉"\nb = "x"\n["ключ"]\n"🎉" = [ "ä", "ö" ]\n',
    "no line break at the end": "a = 1",
    "nothing": "",
    "only a comment": "# x",
}


def leaves(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], object]]:
    if path:
        yield path, value
    if isinstance(value, dict):
        for key, each in value.items():
            yield from leaves(each, (*path, key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from leaves(each, (*path, index))


def check(text: str) -> None:
    values = tomli.loads(text)
    spans = find(text)
    assert set(spans) == {path for path, _ in leaves(values)}
    late = Positions(text)
    for path, value in leaves(values):
        span = spans[path]
        assert late.find(path) == span
        assert late.line_and_column(span.start) == line_and_column(text, span.start)
        name = path[-1]
        if isinstance(name, str):
            key = text[span.key_start : span.key_end]
            assert list(tomli.loads(f"{key} = 0")) == [name]
        if isinstance(value, dict) or text[span.start : span.start + 2] == "[[":
            continue
        # By their text: not-a-number differs from itself.
        assert repr(tomli.loads(f"x = {text[span.start : span.end]}")["x"]) == repr(value)


@pytest.mark.parametrize("text", TRICKY.values(), ids=TRICKY)
def test_tricky_toml(text: str) -> None:
    check(text)


def test_the_sample() -> None:
    check((Path(__file__).parent / "spec/system.toml").read_text())


def test_headers_and_lines() -> None:
    text = 'a = 1\n[b]\n  c = "x"\n[[d]]\n'
    spans = find(text)
    assert line_and_column(text, spans[("b",)].start) == (2, 1)
    assert line_and_column(text, spans[("b", "c")].key_start) == (3, 3)
    assert line_and_column(text, spans[("b", "c")].start) == (3, 7)
    assert line_and_column(text, spans[("d", 0)].start) == (4, 1)


@pytest.mark.parametrize("text", ["a", "a =", "[a", "a = [1", "= 1", "a = { b", 'a = "x'])
def test_what_is_not_toml_is_refused(text: str) -> None:
    with pytest.raises(UnreadableError):
        find(text)


ALPHABET = 'ab é日🎉#=[]{}.,\\"'
KEYS = st.one_of(
    st.text("abcXYZ019_-", min_size=1, max_size=3),
    st.text(ALPHABET, max_size=4).map(lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'),
    st.text(ALPHABET, max_size=4).map(lambda text: f"'{text}'"),
)
SCALARS = st.one_of(
    st.integers().map(str),
    st.booleans().map(lambda value: str(value).lower()),
    st.sampled_from(['""', "''", '"a]b"', "'}'", '"""\n["""', "'''\"'''", "1979-05-27", "1.5", '"#"', '"\\u00e9"']),
)
SPACE = st.sampled_from(["", " ", "\t", "  "])
BREAK = st.sampled_from(["", " ", "\n", " # c ]\n", "\r\n"])


@st.composite
def arrays(draw: st.DrawFn, item: st.SearchStrategy[str]) -> str:
    items = draw(st.lists(item, max_size=3))
    inner = "".join(f"{draw(BREAK)}{each}{draw(BREAK)}," for each in items)
    return f"[{inner}{draw(BREAK)}]"


@st.composite
def inline_tables(draw: st.DrawFn, item: st.SearchStrategy[str]) -> str:
    pairs = draw(st.lists(st.tuples(KEYS, item), max_size=3, unique_by=lambda pair: pair[0].strip("\"'")))
    return (
        "{"
        + ",".join(f"{draw(SPACE)}{key}{draw(SPACE)}={draw(SPACE)}{value}{draw(SPACE)}" for key, value in pairs)
        + "}"
    )


VALUES = st.recursive(SCALARS, lambda inner: st.one_of(arrays(inner), inline_tables(inner)), max_leaves=6)


@st.composite
def documents(draw: st.DrawFn) -> str:
    lines = []
    for _ in range(draw(st.integers(0, 8))):
        kind = draw(st.integers(0, 4))
        dotted = f"{draw(SPACE)}.{draw(SPACE)}".join(draw(st.lists(KEYS, min_size=1, max_size=3)))
        if kind == 0:
            lines.append(f"[{draw(SPACE)}{dotted}{draw(SPACE)}]")
        elif kind == 1:
            lines.append(f"[[{dotted}]]")
        else:
            lines.append(f"{draw(SPACE)}{dotted}{draw(SPACE)}={draw(SPACE)}{draw(VALUES)}")
    return draw(st.sampled_from(["\n", "\r\n", "\n\n", " # c\n"])).join(lines)


@given(documents())
def test_every_key_of_any_document_has_its_place(text: str) -> None:
    try:
        tomli.loads(text)
    except tomli.TOMLDecodeError:
        return
    check(text)
