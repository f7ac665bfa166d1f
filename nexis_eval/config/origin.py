"""Where values were set: the files that were read, what each contributed, and the places to show for them.

Nothing here is worked out before somebody asks.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from nexis_eval.config.errors import ConfigError, Note
from nexis_eval.config.model import KeyPath
from nexis_eval.config.toml import read_text
from nexis_store.errors import NexisError, Place

if TYPE_CHECKING:
    from nexis_eval.config.positions import Positions


class Directives(NamedTuple):
    """What a file says beside values."""

    includes: tuple[tuple[str, int], ...]
    """Each as written, and the strength that it gives."""
    removals: tuple[KeyPath, ...]
    profiles: tuple[str, ...]
    """The names of all profiles that it has parts for."""


@dataclass(eq=False, slots=True)
class Source:
    """One file that was read (or one override of the command line, which has a ``text`` and no path)."""

    path: Path
    shown: str
    """The path as messages have it: relative to the working directory where it is below."""
    included_by: tuple[Source, KeyPath] | None = None
    text: str | None = None
    rank: int = 0
    """The strength of what it says."""
    turn: int = 0
    """Files are merged in the order of their turns: what a file includes comes before the file."""
    directives: Directives | None = None
    entries: Sequence[Entry] = ()
    """What it says, before anything is merged or removed."""
    _positions: Positions | None = None
    _unreadable: bool = False

    @property
    def directory(self) -> str:
        """What relative paths in it are relative to."""
        return str(self.path.parent)

    def chain(self) -> Iterator[tuple[Source, KeyPath]]:
        """The include statements that led here, innermost first."""
        link = self.included_by
        while link is not None:
            yield link
            link = link[0].included_by

    def locate(self, at: KeyPath, *, on_key: bool = False) -> tuple[Place, int]:
        """The place of a key or value and how many characters it has there; of the nearest table if it is not there."""
        found = self._read()
        span = None
        while found and at and (span := found.find(at)) is None:
            at = at[:-1]
        if found is None or span is None:
            return Place(self.shown), 0
        start, end = (span.key_start, span.key_end) if on_key else (span.start, span.end)
        return Place(self.shown, *found.line_and_column(start)), found.length_on_line(start, end)

    def _read(self) -> Positions | None:
        """Positions are wanted: read the text once more. ``None`` if it is gone, or is not what it was."""
        # Imported on use: nothing is shown of a configuration without mistakes.
        from nexis_eval.config.positions import Positions, UnreadableError

        if self._positions is None and self.text is None and not self._unreadable:
            try:
                self._positions = Positions(read_text(self.path, self.shown))
            except (OSError, NexisError, UnreadableError):
                self._unreadable = True
        return self._positions

    def place(self, at: KeyPath, *, on_key: bool = False) -> Place:
        """The place alone."""
        return self.locate(at, on_key=on_key)[0]


class Entry(NamedTuple):
    """What one part of one file says about one table: ``path`` in the result, ``at`` in the file."""

    path: KeyPath
    rank: int
    source: Source
    at: KeyPath
    fields: dict[str, object]


class Setter(NamedTuple):
    """One value that was given to a key."""

    rank: int
    source: Source
    at: KeyPath
    value: object


@dataclass(frozen=True, slots=True)
class Spot:
    """A position that was not looked up yet."""

    source: Source
    at: KeyPath
    on_key: bool = False


@dataclass(frozen=True, slots=True)
class Problem:
    """An error whose place was not looked up yet."""

    error: type[ConfigError]
    message: str
    hint: str | None
    spot: Spot
    notes: tuple[tuple[Spot, str], ...] = ()

    def located(self) -> ConfigError:
        """The error with its place."""
        place, length = self.spot.source.locate(self.spot.at, on_key=self.spot.on_key)
        return self.error(
            self.message,
            hint=self.hint,
            place=place,
            length=length,
            notes=[_note(spot, text) for spot, text in self.notes],
            included_from=included_from(self.spot.source),
        )


def _note(spot: Spot, text: str) -> Note:
    place, length = spot.source.locate(spot.at, on_key=spot.on_key)
    return Note(place, text, length)


def included_from(source: Source) -> tuple[Place, ...]:
    """The places of the include statements that led to a file, innermost first."""
    return tuple(parent.place(at) for parent, at in source.chain())


def shown_path(path: Path) -> str:
    """How messages call a file: relative to the working directory if it is below it, else absolute."""
    text = str(path)
    try:
        here = os.getcwd()  # noqa: PTH109 - called once a file, pathlib is slow
    except FileNotFoundError:
        return text
    return text[len(here) + 1 :] if text.startswith(here + os.sep) else text


class LatePlace(Place):
    """A place that is looked up when it is read: tens of thousands are noted, and hardly any is ever shown."""

    __slots__ = ("_found", "_origins", "_path")
    _origins: Origins
    _path: KeyPath
    _found: Place | None

    def __init__(self, origins: Origins, path: KeyPath) -> None:
        # Past the guard of the frozen base class.
        object.__setattr__(self, "_origins", origins)
        object.__setattr__(self, "_path", path)
        object.__setattr__(self, "_found", None)

    def _look(self) -> Place:
        found = self._found
        if found is None:
            spot = self._origins.spot(self._path)
            found = spot.source.place(spot.at)
            object.__setattr__(self, "_found", found)
        return found

    @property
    def file(self) -> str:
        """The file, as messages have it."""
        return self._look().file

    @property
    def line(self) -> int:
        """The line, from 1; 0 is the file as a whole."""
        return self._look().line

    @property
    def column(self) -> int:
        """The column, from 1."""
        return self._look().column

    @property
    def included_from(self) -> tuple[Place, ...]:
        """The include statements that led to the file, innermost first."""
        return included_from(self._origins.spot(self._path).source)

    def __eq__(self, other: object) -> bool:
        return self._look() == (other._look() if isinstance(other, LatePlace) else other)

    def __hash__(self) -> int:
        return hash(self._look())

    def __lt__(self, other: Place) -> bool:
        return self._look() < (other._look() if isinstance(other, LatePlace) else other)

    def __gt__(self, other: Place) -> bool:
        return self._look() > (other._look() if isinstance(other, LatePlace) else other)

    def __repr__(self) -> str:
        return repr(self._look())

    def __reduce__(self) -> tuple[type[Place], tuple[str, int, int]]:
        return Place, (self.file, self.line, self.column)


@dataclass(slots=True)
class Origins:
    """Which entries made each table of the result."""

    sources: Sequence[Source]
    entries: Mapping[KeyPath, Sequence[Entry]] = field(default_factory=dict)
    listings: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    """Each directory or pattern that was included (where, and as written), and the files it stood for."""

    def setters(self, path: KeyPath) -> list[Setter]:
        """Everything that set the value at ``path`` or a part of it, strongest last; empty if it is the default."""
        for length in range(len(path), 0, -1):
            entries = self.entries.get(path[:length])
            if entries is not None:
                found = (_descend(entry, path[length:]) for entry in entries)
                return sorted((each for each in found if each is not None), key=lambda each: each.rank)
        return []

    def spot(self, path: KeyPath, *, on_key: bool = False) -> Spot:
        """Where the value at ``path`` was set; else the nearest table around it; else the file as a whole."""
        for length in range(len(path), 0, -1):
            here, index = path[:length], path[length - 1]
            setters = self.setters(here)
            if not setters and isinstance(index, int):
                setters = self._element(here[:-1], index)
            if setters:
                top = setters[-1].rank
                strongest = next(each for each in setters if each.rank == top)
                return Spot(strongest.source, strongest.at, on_key)
        children = next((entries[0] for known, entries in self.entries.items() if known[: len(path)] == path), None)
        if children is not None and path:
            return Spot(children.source, children.at, on_key)
        return Spot(self.sources[0], ())

    def _element(self, path: KeyPath, index: int) -> list[Setter]:
        """The file that brought the ``index``-th value of a list that several files may have joined."""
        setters = self.setters(path)
        top = max((each.rank for each in setters), default=0)
        seen: list[object] = []
        for each in setters:
            if each.rank != top or not isinstance(each.value, tuple):
                continue
            for position, value in enumerate(each.value):
                if value in seen and len(setters) > 1:
                    continue
                if len(seen) == index:
                    # A list of one may be written as a bare value; then there is no element to point at.
                    return [Setter(each.rank, each.source, (*each.at, position), value)]
                seen.append(value)
        return []

    def keys_of(self, problems: Iterable[Problem]) -> set[KeyPath]:
        """The keys (of tables of the result) that ``problems`` are about."""
        by_source: dict[Source, list[KeyPath]] = {}
        for problem in problems:
            for spot in (problem.spot, *(spot for spot, _ in problem.notes)):
                by_source.setdefault(spot.source, []).append(spot.at)
        found: set[KeyPath] = set()
        if not by_source:
            return found
        for entries in self.entries.values():
            for entry in entries:
                depth = len(entry.at)
                found.update(
                    (*entry.path, at[depth])
                    for at in by_source.get(entry.source, ())
                    if len(at) > depth and at[:depth] == entry.at
                )
        return found

    def place(self, path: KeyPath) -> Place:
        """Where a value was set; looked up when somebody reads it."""
        return LatePlace(self, path)


def _descend(entry: Entry, rest: KeyPath) -> Setter | None:
    value: object = entry.fields
    for key in rest:
        if not isinstance(value, dict) or key not in value:
            return None
        value = value[key]
    return Setter(entry.rank, entry.source, (*entry.at, *rest), value)


def located(problems: Iterable[Problem], sources: Sequence[Source]) -> list[ConfigError]:
    """The errors with their places, in the order of files and lines, each once."""
    order = {source.shown: index for index, source in enumerate(sources)}
    errors: dict[tuple[object, ...], ConfigError] = {}
    for problem in problems:
        error = problem.located()
        assert error.place is not None
        key = (order.get(error.place.file, -1), error.place.line, error.place.column, error.code, error.message)
        errors.setdefault(key, error)
    return [errors[key] for key in sorted(errors)]
