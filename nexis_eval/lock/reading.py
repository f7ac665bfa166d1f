"""Reads files of pins: TOML whose every value is checked, so that a mistake is told with its line and column. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import NoReturn, TypeVar

from nexis_eval.config.errors import TomlSyntaxError
from nexis_eval.config.model import KeyPath
from nexis_eval.config.toml import parse
from nexis_store.errors import NexisError, Place
from nexis_store.suggest import nearest

MAX_SIZE_BYTES = (1 << 63) - 1
Value = TypeVar("Value")


class MalformedPinsError(Exception):
    """A value of a file of pins is not what belongs there. ``at`` is its key path."""

    def __init__(self, at: KeyPath, why: str, hint: str | None = None) -> None:
        super().__init__(why)
        self.at = at
        self.hint = hint


@dataclass(frozen=True, slots=True)
class PinTable:
    """One table of the file; reading a value of another type raises ``MalformedPinsError``."""

    values: Mapping[str, object]
    at: KeyPath = ()

    def fail(self, key: str, why: str, *further: int, hint: str | None = None) -> NoReturn:
        """Raise ``MalformedPinsError`` for the value of ``key``, or for an element of it."""
        raise MalformedPinsError((*self.at, key, *further), why, hint)

    def fail_whole(self, why: str) -> NoReturn:
        """Raise it for the table itself."""
        raise MalformedPinsError(self.at, why)

    def only(self, keys: Collection[str]) -> None:
        """Refuse any other key: it would mean something to another version of this program, or is misspelt."""
        for key in self.values:
            if key not in keys:
                near = nearest(key, keys)
                hint = f"did you mean '{near}'?" if near else None
                self.fail(key, f"'{key}' is not a key that belongs here", hint=hint)

    def text(self, key: str, default: str | None = None) -> str:
        """A string that is not empty; without ``default`` it must be there."""
        value = self.values.get(key, default)
        if value is None:
            raise MalformedPinsError(self.at, f"'{key}' is missing")
        if not isinstance(value, str) or (not value and key in self.values):
            self.fail(key, f"'{key}' must be a string that is not empty")
        return value

    def texts(self, key: str, *, needed: bool = True) -> tuple[str, ...]:
        """A list of strings, of which none is empty; where it is ``needed``, not an empty list."""
        value = self.values.get(key)
        if value is None:
            if needed:
                raise MalformedPinsError(self.at, f"'{key}' is missing")
            return ()
        if not isinstance(value, list) or not value:
            self.fail(key, f"'{key}' must be a list of strings that is not empty")
        for index, each in enumerate(value):
            if not isinstance(each, str) or not each:
                self.fail(key, f"each element of '{key}' must be a string that is not empty", index)
        return tuple(value)

    def size(self, key: str) -> int | None:
        """A number of bytes, if there is one."""
        value = self.values.get(key)
        if value is None:
            return None
        if type(value) is not int or not 0 <= value <= MAX_SIZE_BYTES:
            self.fail(key, f"'{key}' must be a number of bytes")
        return value

    def flag(self, key: str, default: bool = False) -> bool:
        """A truth value; ``default`` where there is none."""
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            self.fail(key, f"'{key}' must be true or false")
        return value

    def checked(self, key: str, read: Callable[[], Value], *further: int) -> Value:
        """What ``read`` makes of a value; its ``ValueError`` is told at the place of ``key``."""
        try:
            return read()
        except ValueError as error:
            self.fail(key, str(error), *further)

    def table(self, key: str) -> PinTable:
        """A table below this one; an empty one where there is none."""
        value = self.values.get(key, {})
        if not isinstance(value, dict):
            self.fail(key, f"'{key}' must be a table")
        return PinTable(value, (*self.at, key))

    def named(self) -> dict[str, PinTable]:
        """The tables of a table of nothing else."""
        return {key: self.table(key) for key in self.values}

    def text_table(self, key: str) -> dict[str, str]:
        """A table of strings; an empty one where there is none."""
        table = self.table(key)
        for name, value in table.values.items():
            if not isinstance(value, str):
                table.fail(name, f"'{name}' must be a string")
        return {name: str(value) for name, value in table.values.items()}

    def tables(self, key: str) -> Iterator[PinTable]:
        """The tables of an array of tables; none where there is none."""
        value = self.values.get(key, [])
        if not isinstance(value, list):
            self.fail(key, f"'{key}' must be a list of tables: [[{key}]]")
        for index, each in enumerate(value):
            if not isinstance(each, dict):
                self.fail(key, f"'{key}' must be a list of tables: [[{key}]]", index)
            yield PinTable(each, (*self.at, key, index))


def read_pins(
    text: str, file: str, error: type[NexisError], what: str, hint: str, read: Callable[[PinTable], Value]
) -> Value:
    """What ``read`` makes of the text; raises ``error`` with the place of what is wrong, which is not ``what``."""
    try:
        return read(PinTable(parse(text, file)))
    except TomlSyntaxError as problem:
        raise error(f"not {what}: {problem.message}", hint=hint, place=problem.place) from None
    except MalformedPinsError as problem:
        raise error(f"not {what}: {problem}", hint=problem.hint or hint, place=_place(text, file, problem.at)) from None


def _place(text: str, file: str, at: KeyPath) -> Place:
    """Where a key path stands; the nearest table if it is not there."""
    # Imported on use: nothing is shown of a file without mistakes.
    from nexis_eval.config.positions import Positions

    positions = Positions(text)
    while at:
        span = positions.find(at)
        if span is not None:
            return Place(file, *positions.line_and_column(span.start))
        at = at[:-1]
    return Place(file, 1, 1)
