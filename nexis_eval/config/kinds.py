"""What a kind of value is, and how kinds are made out of kinds: checked, converted, merged, described. Pure.

A kind converts what TOML gave into what the typed configuration holds, or says what is wrong. Conversion is on the hot
path (tens of thousands of packages): the good case allocates nothing that is not part of the result.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from typing import NoReturn

from nexis_eval.config import errors
from nexis_eval.config.errors import ConfigError
from nexis_eval.config.model import KeyPath
from nexis_store.suggest import nearest

Schema = Mapping[str, object]


class Merge(StrEnum):
    """What happens when several files set one thing, with the same strength."""

    SAME = "same"
    """They must agree."""
    JOIN = "join"
    """Lists are put one after another, in the order of the includes, each value once."""
    KEYS = "keys"
    """Tables are merged key by key."""


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing that is wrong with a value, at ``at`` inside of it."""

    error: type[ConfigError]
    message: str
    hint: str | None = None
    at: KeyPath = ()
    on_key: bool = False
    """Whether the key is wrong, and not its value."""

    def below(self, key: str | int) -> Issue:
        """The same, seen from the list or table around it."""
        return replace(self, at=(key, *self.at))


class InvalidValueError(Exception):
    """A value is not of its kind. ``rest`` is what could be used of it (for lists and tables)."""

    def __init__(self, issues: Iterable[Issue], rest: object = None) -> None:
        super().__init__()
        self.issues = tuple(issues)
        self.rest = rest


Convert = Callable[[object, str], object]
"""From a TOML value and the directory of the file that holds it; raises ``InvalidValueError``."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of value."""

    name: str
    """For people: ``a string``, ``a list of URLs``."""
    convert: Convert
    schema: Schema
    """JSON Schema (draft 2020-12) of what may be written."""
    merge: Merge = Merge.SAME
    accepts: Callable[[], Callable[[str], object]] | None = None
    """For strings that are kept as they are: gives what is true for the right ones, and raises ``TypeError`` for
    other types."""


def type_name(value: object) -> str:
    """What TOML calls the type of a value."""
    names = {str: "a string", bool: "a boolean", int: "an integer", float: "a number", list: "a list", dict: "a table"}
    return names.get(type(value), "a date or time")


def fail(error: type[ConfigError], message: str, hint: str | None = None, at: KeyPath = ()) -> NoReturn:
    """Refuse a value for one reason."""
    raise InvalidValueError((Issue(error, message, hint, at),))


def wrong_type(expected: str, value: object, hint: str | None = None) -> NoReturn:
    """Refuse a value of another type; where no hint is given, say how the value would have to be written."""
    if hint is None:
        if expected.startswith("a list") and isinstance(value, str):
            hint = f"write [{quoted(value)}]"
        elif isinstance(value, (bool, int, float)) and "string" in expected:
            written = str(value).lower() if isinstance(value, bool) else str(value)
            hint = f'write "{written}"'
        elif expected == "a boolean":
            word = str(value).lower()
            yes, no = word in ("true", "yes", "on", "1"), word in ("false", "no", "off", "0")
            hint = f"write {'true' if yes else 'false' if no else 'true or false'}, without quotes"
        elif expected.startswith("an integer") and isinstance(value, str) and value.strip().isdigit():
            hint = f"write {value.strip()}, without quotes"
    fail(errors.WrongTypeError, f"expected {expected}, not {type_name(value)}", hint)


def quoted(value: str) -> str:
    """A string as a message shows it: cut if it is long."""
    if "\n" in value or '"' in value:
        return '"…"'
    return f'"{value}"' if len(value) <= 60 else f'"{value[:50]}…"'


UNPRINTABLE = r"\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
"""For a set of characters in a pattern: control characters, ends of lines, and what makes text run backwards."""
_CONTROL = re.compile(f"[{UNPRINTABLE}]")


def text(
    name: str = "a string of one line",
    *,
    pattern: str | None = None,
    error: type[ConfigError] = errors.TextError,
    hint: str | None = None,
    accept: Callable[[str], bool] | None = None,
    empty: bool = False,
) -> Kind:
    """A string of one line that matches ``pattern`` as a whole, and ``accept``; ``empty`` where it matches nothing."""
    written = pattern or f"[^{UNPRINTABLE}]+"

    @cache
    def matcher() -> Callable[[str], object]:
        # Compiled on use: a run meets few of the thirty patterns, and compiling them all takes 10 ms.
        return re.compile(written).fullmatch

    def convert(value: object, _directory: str) -> object:
        if type(value) is not str:
            wrong_type(f"a string ({name})" if pattern else "a string", value)
        if matcher()(value) and (accept is None or accept(value)):
            return value
        if not value:
            fail(error, f"an empty string is not {name}", hint or "delete the key to have its default")
        if _CONTROL.search(value):
            fail(error, f"a line break or control character cannot stand in {name}", hint)
        fail(error, f"{quoted(value)} is not {name}", hint)

    schema = {"type": "string", "minLength": 0 if empty else 1, "pattern": f"^(?:{written})$"}
    return Kind(name, convert, schema, accepts=matcher if accept is None else None)


def integer(low: int, high: int | None = None) -> Kind:
    """A whole number from ``low`` to ``high``."""
    limits = f"from {low} to {high}" if high is not None else f"of {low} or more"
    name = f"an integer {limits}"

    def convert(value: object, _directory: str) -> object:
        if type(value) is not int:
            wrong_type(name, value)
        if value < low or (high is not None and value > high):
            fail(errors.RangeError, f"{value} is out of range", f"write {name}")
        return value

    schema: dict[str, object] = {"type": "integer", "minimum": low}
    if high is not None:
        schema["maximum"] = high
    return Kind(name, convert, schema)


def choice(*words: str) -> Kind:
    """One of a few words."""
    name = "one of " + ", ".join(f'"{word}"' for word in words)
    allowed = frozenset(words)

    def convert(value: object, _directory: str) -> object:
        if type(value) is not str:
            wrong_type("a string", value)
        if value not in allowed:
            near = nearest(value.lower(), words)
            hint = f'did you mean "{near}"? It is {name}' if near else f"write {name}"
            fail(errors.ChoiceError, f"{quoted(value)} is not among the choices", hint)
        return value

    return Kind(name, convert, {"enum": list(words)})


def list_of(item: Kind, name: str) -> Kind:
    """A list whose elements are of one kind."""
    one, accepts = item.convert, item.accepts

    def convert(value: object, directory: str) -> object:
        if type(value) is not list:
            wrong_type(name, value)
        try:
            # The common case without a call of Python code per element.
            if accepts is not None and all(map(accepts(), value)):
                return tuple(value)
        except TypeError:
            return _all_of(value, directory)
        try:
            return tuple([one(each, directory) for each in value])
        except InvalidValueError:
            return _all_of(value, directory)

    def _all_of(value: list[object], directory: str) -> object:
        issues: list[Issue] = []
        good: list[object] = []
        for index, each in enumerate(value):
            try:
                good.append(one(each, directory))
            except InvalidValueError as problem:
                issues += (issue.below(index) for issue in problem.issues)
        raise InvalidValueError(issues, tuple(good))

    return Kind(name, convert, {"type": "array", "items": item.schema}, Merge.JOIN)


def one_or_list_of(item: Kind, name: str) -> Kind:
    """A single value, or a list of such values; converted to a tuple."""
    several = list_of(item, name)

    def convert(value: object, directory: str) -> object:
        if type(value) is list:
            return several.convert(value, directory)
        if type(value) is not str:
            wrong_type(name, value)
        return (item.convert(value, directory),)

    return Kind(name, convert, {"anyOf": [item.schema, several.schema]})


def table_of(item: Kind, name: str, *, key: Kind | None = None) -> Kind:
    """A table with free keys whose values are of one kind."""

    def convert(value: object, directory: str) -> object:
        if type(value) is not dict:
            wrong_type(name, value)
        issues: list[Issue] = []
        good: dict[str, object] = {}
        for each, content in value.items():
            if key is not None:
                try:
                    key.convert(each, directory)
                except InvalidValueError as problem:
                    issues += (replace(issue.below(each), on_key=True) for issue in problem.issues)
            try:
                good[each] = item.convert(content, directory)
            except InvalidValueError as problem:
                issues += (issue.below(each) for issue in problem.issues)
        if issues:
            raise InvalidValueError(issues, good)
        return good

    schema: dict[str, object] = {"type": "object", "additionalProperties": item.schema}
    if key is not None:
        schema["propertyNames"] = {name: value for name, value in key.schema.items() if name != "type"}
    return Kind(name, convert, schema, Merge.KEYS)
