"""Where each key and value of a TOML text stands. Pure.

Values come from ``tomli``, which is fast and keeps no positions. Only when something must be shown (an error,
``explain``) is the text read a second time, here, for places alone. The text must be valid TOML; what it means is not
decided here except for which table a header opens. Grammar: https://toml.io/en/v1.0.0 (toml.abnf).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import tomli

from nexis_eval.config.model import KeyPath

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*+")
_SPACE = re.compile(r"[ \t]*+")
_KEY = re.compile(r"""([A-Za-z0-9_-]+)|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+'""")
_STRING = re.compile(
    r'''"""(?:[^"\\]|\\.|"{1,2}(?!"))*+"{3,5}|\'\'\'(?:[^']|'{1,2}(?!'))*+'{3,5}|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+\'''',
    re.DOTALL,
)
_BARE = re.compile(r"[^,\]}#\r\n]*[^,\]}#\s]")


class UnreadableError(Exception):
    """The text is not the valid TOML that it was promised to be."""


@dataclass(frozen=True, slots=True)
class Span:
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
            self.spans.setdefault(path, span)
            index = self.tables.get(path, 0)
            self.tables[path] = index + 1
            path = (*path, index)
        # A super-table may be opened after its parts: its own header is the better place.
        self.spans[path] = span
        return path

    def statement(self, table: KeyPath) -> KeyPath:
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
        self.spans[(*path, name)] = Span(key_start, key_end, start, self.at)
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


def find(text: str) -> dict[KeyPath, Span]:
    """The span of every key, table and list element of ``text``, by key path; raises ``UnreadableError``."""
    finder = _Finder(text)
    finder.document()
    return finder.spans


def line_and_column(text: str, offset: int) -> tuple[int, int]:
    """Line and column, both from 1, in characters."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)
