"""Where each key and value of a TOML text stands. Pure.

Values come from ``tomli``, which is fast and keeps no positions. Only when something must be shown (an error,
``explain``) is the text read a second time, here, for places alone. The text must be valid TOML; what it means is not
decided here except for which table a header opens. Grammar: https://toml.io/en/v1.1.0 (toml.abnf).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from contextlib import suppress
from typing import NamedTuple

from nexis_eval.config.model import KeyPath

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*+")
_SPACE = re.compile(r"[ \t]*+")
_KEY = re.compile(r"""([A-Za-z0-9_-]+)|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+'""")
_STRING = re.compile(
    r'''"""(?:[^"\\]|\\.|"{1,2}(?!"))*+"{3,5}|\'\'\'(?:[^']|'{1,2}(?!'))*+'{3,5}|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+\'''',
    re.DOTALL,
)
# What nine of ten lines are: one key, and a value or a list of strings that ends on the line.
_PLAIN = re.compile(
    r"""([A-Za-z0-9_-]+)[ \t]*=[ \t]*"""
    r"""(?:("[^"\\\n]*"|'[^'\n]*'|[^\s"'\[\]{}#,]+)|(\[[ \t]*(?:"[^"\\\n]*"[ \t]*,?[ \t]*)*+\]))[ \t]*(?=\r?\n|\#|\Z)"""
)
_BARE = re.compile(r"[^,\]}#\r\n]*[^,\]}#\s]")


class UnreadableError(Exception):
    """The text is not the valid TOML that it was promised to be."""


class Span(NamedTuple):
    """Offsets in the text, in characters: of the key (or the header of a table) and of the value."""

    key_start: int
    key_end: int
    start: int
    end: int


class _Finder:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.spans: dict[KeyPath, Span] = {}
        self.tables: dict[KeyPath, int] = {}
        """How often each array of tables was opened."""
        self.lists: dict[KeyPath, int] = {}
        """Where lists stand whose elements were not looked at."""
        self.repeated: tuple[KeyPath, Span, Span] | None = None
        """The last key or table that was there before (which valid TOML has for super-tables only)."""

    def skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self.text, self.at)
        if match:
            self.at = match.end()

    def expect(self, token: str) -> None:
        if not self.text.startswith(token, self.at):
            raise UnreadableError(f"expected {token!r} at offset {self.at}")
        self.at += len(token)

    def keys(self) -> list[tuple[str, int, int]]:
        """A dotted key: each part with its offsets."""
        parts = []
        while True:
            self.skip(_SPACE)
            match = _KEY.match(self.text, self.at)
            if match is None:
                raise UnreadableError(f"expected a key at offset {self.at}")
            name = match[1]
            if name is None:
                import tomli

                raw = match[0]
                name = raw[1:-1] if raw[0] == "'" or "\\" not in raw else next(iter(tomli.loads(f"{raw}=0")))
            parts.append((name, match.start(), match.end()))
            self.at = match.end()
            self.skip(_SPACE)
            if not self.text.startswith(".", self.at):
                return parts
            self.at += 1

    def document(self) -> None:
        table: KeyPath = ()
        while True:
            self.skip(_BLANK)
            if self.at == len(self.text):
                return
            table = self.header() if self.text[self.at] == "[" else self.statement(table)

    def header(self) -> KeyPath:
        start = self.at
        brackets = 2 if self.text.startswith("[[", start) else 1
        self.at += brackets
        parts = self.keys()
        self.expect("]" * brackets)
        path: KeyPath = ()
        for name, key_start, key_end in parts[:-1]:
            path = (*path, name)
            self.spans.setdefault(path, Span(key_start, key_end, start, self.at))
            if path in self.tables:
                path = (*path, self.tables[path] - 1)
        name, key_start, key_end = parts[-1]
        path = (*path, name)
        span = Span(key_start, key_end, start, self.at)
        if brackets == 2:
            if path in self.spans and path not in self.tables:
                self.repeated = (path, self.spans[path], span)
            self.spans.setdefault(path, span)
            index = self.tables.get(path, 0)
            self.tables[path] = index + 1
            path = (*path, index)
        if brackets == 1 and path in self.spans:
            self.repeated = (path, self.spans[path], span)
        # A super-table may be opened after its parts: its own header is the better place.
        self.spans[path] = span
        return path

    def statement(self, table: KeyPath) -> KeyPath:
        plain = _PLAIN.match(self.text, self.at)
        if plain:
            path = (*table, plain[1])
            group = plain.lastindex
            assert group is not None
            span = Span(self.at, plain.end(1), *plain.span(group))
            if path in self.spans:
                self.repeated = (path, self.spans[path], span)
            self.spans[path] = span
            if group == 3:
                self.lists[path] = plain.start(3)
            self.at = plain.end()
            return table
        parts = self.keys()
        self.expect("=")
        self.skip(_SPACE)
        start = self.at
        path = table
        for name, _, _ in parts:
            path = (*path, name)
        self.value(path)
        path = table
        for name, key_start, key_end in parts[:-1]:
            path = (*path, name)
            self.spans.setdefault(path, Span(key_start, key_end, key_start, self.at))
        name, key_start, key_end = parts[-1]
        path, span = (*path, name), Span(key_start, key_end, start, self.at)
        if path in self.spans:
            self.repeated = (path, self.spans[path], span)
        self.spans[path] = span
        return table

    def value(self, path: KeyPath) -> None:
        first = self.text[self.at : self.at + 1]
        if first in ('"', "'"):
            match = _STRING.match(self.text, self.at)
        elif first == "[":
            return self.array(path)
        elif first == "{":
            return self.inline_table(path)
        else:
            match = _BARE.match(self.text, self.at)
        if match is None:
            raise UnreadableError(f"expected a value at offset {self.at}")
        self.at = match.end()

    def array(self, path: KeyPath) -> None:
        self.expect("[")
        index = 0
        while True:
            self.skip(_BLANK)
            if self.text.startswith("]", self.at):
                break
            start = self.at
            self.value((*path, index))
            self.spans[(*path, index)] = Span(start, self.at, start, self.at)
            index += 1
            self.skip(_BLANK)
            if not self.text.startswith(",", self.at):
                break
            self.at += 1
        self.expect("]")

    def inline_table(self, path: KeyPath) -> None:
        self.expect("{")
        while True:
            self.skip(_BLANK)
            if self.text.startswith("}", self.at):
                break
            self.statement(path)
            self.skip(_BLANK)
            if not self.text.startswith(",", self.at):
                break
            self.at += 1
        self.expect("}")


class Positions:
    """The spans of a text, and the lines and columns they stand at."""

    def __init__(self, text: str) -> None:
        self._finder = _Finder(text)
        self._finder.document()
        self._lines = [0, *(match.end() for match in re.finditer("\n", text))]

    def find(self, path: KeyPath) -> Span | None:
        """The span of a key, table or list element; ``None`` if the text has none at ``path``."""
        finder = self._finder
        if path not in finder.spans and path[:-1] in finder.lists:
            finder.at = finder.lists.pop(path[:-1])
            finder.value(path[:-1])
        return finder.spans.get(path)

    def line_and_column(self, offset: int) -> tuple[int, int]:
        """Line and column, both from 1, in characters."""
        line = bisect_right(self._lines, offset)
        return line, offset - self._lines[line - 1] + 1

    def length_on_line(self, start: int, end: int) -> int:
        """How many characters of a span are on its first line."""
        line = bisect_right(self._lines, start)
        return min(end, self._lines[line] - 1 if line < len(self._lines) else end) - start


def find(text: str) -> dict[KeyPath, Span]:
    """The span of every key, table and list element of ``text``, by key path; raises ``UnreadableError``."""
    finder = _Finder(text)
    finder.document()
    for path, start in finder.lists.items():
        finder.at = start
        finder.value(path)
    return finder.spans


def repeated(text: str) -> tuple[KeyPath, Span, Span] | None:
    """The last key or table of a text that was there before, and where both are; the text may break off after it."""
    finder = _Finder(text)
    with suppress(UnreadableError):
        finder.document()
    return finder.repeated


def line_and_column(text: str, offset: int) -> tuple[int, int]:
    """Line and column, both from 1, in characters."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)
