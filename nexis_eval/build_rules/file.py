"""A file of a rule: what it says, checked value by value, and where in it something stands."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from nexis_eval.build_rules.errors import RuleError
from nexis_eval.config import toml
from nexis_eval.config.errors import ConfigError
from nexis_eval.config.model import KeyPath
from nexis_eval.config.origin import shown_path
from nexis_eval.config.positions import Positions
from nexis_store.errors import Place
from nexis_store.suggest import did_you_mean

_IN_WORDS = {str: "a string", bool: "true or false", int: "an integer", list: "a list of strings", dict: "a table"}


@dataclass(frozen=True)
class RuleFile:
    """One ``NAME.toml``, whose name is that of the rule."""

    path: Path
    text: str
    table: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The name of the rule."""
        return self.path.stem

    @cached_property
    def _positions(self) -> Positions:
        # Few files have a mistake.
        return Positions(self.text)

    def place(self, at: KeyPath, *, on_key: bool = False) -> Place:
        """Where ``at`` stands, or the nearest table around it."""
        shown = shown_path(self.path)
        while at:
            span = self._positions.find(at)
            if span is not None:
                return Place(shown, *self._positions.line_and_column(span.key_start if on_key else span.start))
            at, on_key = at[:-1], True
        return Place(shown, 1, 1)

    def place_within(self, at: KeyPath, line: int, column: int) -> Place:
        """Where a line and column of the text at ``at`` stand; of a text with escapes, where it begins."""
        span = self._positions.find(at)
        if span is None or line == 0:
            return self.place(at)
        written = self.text[span.start : span.end]
        quotes = written[:3] if written[:3] in ("'''", '"""') else written[:1]
        if quotes[0] == '"' and "\\" in written:
            return self.place(at)
        start = len(quotes)
        if len(quotes) == 3:
            start += 2 if written.startswith("\r\n", 3) else 1 if written.startswith("\n", 3) else 0
        first, before = self._positions.line_and_column(span.start + start)
        return Place(shown_path(self.path), first + line - 1, max(column, 1) + (before - 1 if line == 1 else 0))

    def fail(self, message: str, *at: str | int, hint: str | None = None, on_key: bool = False) -> NoReturn:
        """Raise ``RuleError`` with the place of ``at``."""
        raise RuleError(message, hint=hint, place=self.place(at, on_key=on_key))

    def only(self, table: Mapping[str, Any], known: Collection[str], what: str, *at: str) -> None:
        """See that ``table`` has no other keys."""
        for key in table:
            if key not in known:
                listed = f"keys are: {', '.join(sorted(known))}"
                self.fail(
                    f"unknown key '{key}' in {what}", *at, key, hint=did_you_mean(key, known, listed), on_key=True
                )

    def value(self, table: Mapping[str, Any], kind: type, *at: str) -> Any:
        """The value of the last key of ``at`` in ``table``, of one type; ``None`` if it has none."""
        found = table.get(at[-1])
        if found is not None and type(found) is not kind:
            self.fail(f"'{'.'.join(at)}' must be {_IN_WORDS[kind]}", *at)
        return found

    def texts(self, table: Mapping[str, Any], *at: str) -> tuple[str, ...]:
        """The same of a list of strings; none if there is no list."""
        found = self.value(table, list, *at) or []
        for index, each in enumerate(found):
            if type(each) is not str:
                self.fail(f"each element of '{'.'.join(at)}' must be a string", *at, index)
        return tuple(found)

    def text_table(self, table: Mapping[str, Any], *at: str) -> Mapping[str, str]:
        """The same of a table of strings."""
        found: Mapping[str, Any] = self.value(table, dict, *at) or {}
        for key, each in found.items():
            if type(each) is not str:
                self.fail(f"'{'.'.join((*at, key))}' must be a string", *at, key)
        return found


def read_rule_file(path: Path) -> RuleFile:
    """Read a file; raises ``RuleError`` if it cannot be read or is not TOML."""
    shown = shown_path(path)
    try:
        text = toml.read_text(path, shown)
        return RuleFile(path, text, toml.parse(text, shown))
    except OSError as error:
        raise RuleError(f"cannot read the file: {error.strerror}", place=Place(shown)) from None
    except ConfigError as error:
        raise RuleError(f"not TOML: {error.message}", hint=error.hint, place=error.place) from None


def place_of_template(files: Sequence[str], at: KeyPath, template: str, line: int, column: int) -> Place | None:
    """Where a line and column of a rule's template stand, in whichever of its ``files`` has it."""
    if not files:
        return None
    try:
        read = [read_rule_file(Path(each)) for each in files]
    except RuleError:
        return Place(shown_path(Path(files[-1])))
    if at == ("prelude",):
        # That of a rule follows on those of what it extends.
        for file in read:
            lines = file.table.get("prelude", "").count("\n")
            if line <= lines or file is read[-1]:
                return file.place_within(at, line, column)
            line -= lines
    for file in reversed(read):
        found: Any = file.table
        for key in at:
            found = found.get(key) if isinstance(found, dict) else None
        if found == template:
            return file.place_within(at, line, column)
        if isinstance(found, list) and template in found:
            return file.place_within((*at, found.index(template)), line, column)
    return Place(shown_path(Path(files[-1])))
