"""Takes the tables of a file apart into entries: keys known and checked, values converted, strength decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nexis_eval.config import errors
from nexis_eval.config.kinds import InvalidValueError, type_name
from nexis_eval.config.model import KeyPath
from nexis_eval.config.origin import Directives, Entry, Problem, Source, Spot
from nexis_eval.config.settings import BY_PATH, DIRECTIVES, INCLUDES, PART_DOCS, REMOVE, SECTIONS, Form, Section
from nexis_eval.platforms import ALIASES, PLATFORMS
from nexis_store.suggest import did_you_mean

Table = Mapping[str, object]

_SPECIFICITIES = 16
DEFAULT, ORDINARY, FORCE, OVERRIDE = (priority * _SPECIFICITIES for priority in range(4))
"""Strength of a value. To each, one is added per condition (architecture, profile) that it stands below."""

_ROOT = (*(s.path[0] for s in SECTIONS if len(s.path) == 1), *(d.path[0] for d in DIRECTIVES), *PART_DOCS)
_CHILDREN = {parent.path: {s.path[-1]: s for s in SECTIONS if s.path[:-1] == parent.path} for parent in SECTIONS}
_CONVERTERS = {
    section.path: {key: (setting.kind.convert, setting.kind.accepts) for key, setting in section.settings.items()}
    for section in (*SECTIONS, *DIRECTIVES)
}


def strength(rank: int) -> str:
    """A rank in words."""
    priority, conditions = divmod(rank, _SPECIFICITIES)
    words = ("default", "ordinary", "forced", "command line")[priority]
    return f"{words}, conditional" if conditions else words


@dataclass(frozen=True, slots=True)
class Include:
    """One path of an ``[includes]`` table, and the strength that the file's values have."""

    source: Source
    at: KeyPath
    written: str
    rank: int


@dataclass(frozen=True, slots=True)
class Removal:
    """One name of a ``[remove]`` table."""

    source: Source
    at: KeyPath
    path: KeyPath


@dataclass(slots=True)
class Parts:
    """What a file says, as far as it counts for this architecture and these profiles."""

    arch: str
    profiles: frozenset[str]
    entries: list[Entry] = field(default_factory=list)
    includes: list[Include] = field(default_factory=list)
    removals: list[Removal] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    known_profiles: set[str] = field(default_factory=set)
    elsewhere: dict[KeyPath, Spot] = field(default_factory=dict)
    """Items of lists that are declared in parts that do not count."""

    def directives(self) -> Directives:
        """What a file says beside values."""
        return Directives(
            tuple((each.written, each.rank) for each in self.includes),
            tuple(each.path for each in self.removals),
            tuple(sorted(self.known_profiles)),
        )

    def read(self, source: Source, table: Table, rank: int) -> None:
        """Take a whole file apart."""
        _Reader(self, source).part(table, (), rank, active=True, inside=())


class _Reader:
    """Reads one file; ``inside`` lists the parts (``arch``, ``force`` …) around a table."""

    def __init__(self, parts: Parts, source: Source) -> None:
        self.parts = parts
        self.source = source
        self.directory = source.directory

    def problem(
        self, error: type[errors.ConfigError], message: str, hint: str | None, at: KeyPath, *, on_key: bool = False
    ) -> None:
        self.parts.problems.append(Problem(error, message, hint, Spot(self.source, at, on_key)))

    def is_table(self, value: object, at: KeyPath, example: str) -> bool:
        if type(value) is dict:
            return True
        hint = f"write {example}, and its keys below it"
        self.problem(errors.WrongTypeError, f"expected a table, not {type_name(value)}", hint, at, on_key=True)
        return False

    def part(self, table: Table, at: KeyPath, rank: int, *, active: bool, inside: tuple[str, ...]) -> None:
        allowed = [name for name in PART_DOCS if name not in inside and not {"default", "force"} & set(inside)]
        for key, value in table.items():
            here = (*at, key)
            section = BY_PATH.get((key,))
            if section is not None:
                self.section(section, value, here, rank, active=active)
            elif key == "includes":
                self.includes(value, here, rank, active=active)
            elif key == "remove":
                self.remove(value, here, active=active)
            elif key not in allowed:
                self.unknown_root(key, here, [name for name in _ROOT if name not in PART_DOCS or name in allowed])
        for key in allowed:
            if key not in table:
                continue
            value, here = table[key], (*at, key)
            if not self.is_table(value, here, f"[{key}.system]"):
                continue
            assert isinstance(value, dict)
            if key == "default":
                # Below what was weak already, a default stays weak.
                self.part(value, here, DEFAULT + rank % _SPECIFICITIES, active=active, inside=(*inside, key))
            elif key == "force":
                self.part(value, here, FORCE + rank % _SPECIFICITIES, active=active, inside=(*inside, key))
            else:
                self.conditions(key, value, here, rank, active=active, inside=(*inside, key))

    def conditions(
        self, key: str, table: Table, at: KeyPath, rank: int, *, active: bool, inside: tuple[str, ...]
    ) -> None:
        for name, value in sorted(table.items()):
            here = (*at, name)
            if key == "arch":
                arch = ALIASES.get(name, name)
                if arch not in PLATFORMS:
                    self.unknown_architecture(name, here)
                holds = arch == self.parts.arch
            else:
                self.parts.known_profiles.add(name)
                holds = name in self.parts.profiles
            if self.is_table(value, here, f"[{key}.{name}.system]"):
                assert isinstance(value, dict)
                self.part(value, here, rank + 1, active=active and holds, inside=inside)

    def section(self, section: Section, value: object, at: KeyPath, rank: int, *, active: bool) -> None:
        if section.form is Form.LIST:
            if type(value) is not list or not all(type(each) is dict for each in value):
                hint = f"write {section.title} with two brackets, and {section.identity} = … below it"
                message = f"expected a list of tables, not {type_name(value)}"
                self.problem(errors.WrongTypeError, message, hint, at, on_key=True)
                return
            self.tables(section, value, at, rank, active=active)
        elif not self.is_table(value, at, section.title):
            return
        elif section.form is Form.NAMED:
            assert isinstance(value, dict)
            self.named(section, value, at, rank, active=active)
        else:
            assert isinstance(value, dict)
            fields = self.free(section, value, at) if section.free else self.fields(section, value, at)
            if active:
                self.parts.entries.append(Entry(section.path, rank, self.source, at, fields))
            for name, child in _CHILDREN[section.path].items():
                if name in value:
                    self.section(child, value[name], (*at, name), rank, active=active)

    def tables(self, section: Section, tables: list[Table], at: KeyPath, rank: int, *, active: bool) -> None:
        identity = section.identity
        path, source, entries = section.path, self.source, self.parts.entries
        for index, table in enumerate(tables):
            here = (*at, index)
            fields = self.fields(section, table, here)
            name = fields.get(identity)
            if name is None:
                if identity not in table:
                    self.problem(
                        errors.MissingKeyError, f"{section.title} has no '{identity}'", f"add {identity} = …", here
                    )
            elif active:
                entries.append(Entry((*path, name), rank, source, here, fields))  # type: ignore[arg-type]
            else:
                self.parts.elsewhere[*path, name] = Spot(source, (*here, identity))  # type: ignore[arg-type]

    def named(self, section: Section, table: Table, at: KeyPath, rank: int, *, active: bool) -> None:
        for name, value in table.items():
            here = (*at, name)
            if section.name_kind is not None:
                try:
                    section.name_kind.convert(name, "")
                except InvalidValueError as invalid:
                    for issue in invalid.issues:
                        self.problem(issue.error, issue.message, issue.hint, here, on_key=True)
            if not self.is_table(value, here, section.title.replace("NAME", name)):
                continue
            assert isinstance(value, dict)
            fields = self.fields(section, value, here)
            if fields.pop("name", name) != name:
                self.problem(
                    errors.NameMismatchError,
                    f"the table is called '{name}' and its 'name' says otherwise",
                    "leave 'name' out, or make it the same",
                    (*here, "name"),
                )
            if active:
                self.parts.entries.append(Entry((*section.path, name), rank, self.source, here, fields))

    def fields(self, section: Section, table: Table, at: KeyPath) -> dict[str, object]:
        converters = _CONVERTERS[section.path]
        directory = self.directory
        fields: dict[str, object] = {}
        for key, value in table.items():
            known = converters.get(key)
            if known is None:
                if key not in _CHILDREN.get(section.path, ()):
                    self.unknown_key(section, key, (*at, key))
                continue
            convert, accepts = known
            # Most values are texts that are kept as they are: then there is nothing to call but the pattern.
            if accepts is not None and type(value) is str and accepts()(value):
                fields[key] = value
                continue
            try:
                fields[key] = convert(value, directory)
            except InvalidValueError as invalid:
                for issue in invalid.issues:
                    hint = issue.hint or f"it takes {section.settings[key].kind.name}; see 'nexis-eval options {key}'"
                    message = f"{key}: {issue.message}"
                    self.problem(issue.error, message, hint, (*at, key, *issue.at), on_key=issue.on_key)
                if invalid.rest is not None:
                    fields[key] = invalid.rest
        return fields

    def free(self, section: Section, table: Table, at: KeyPath) -> dict[str, object]:
        assert section.free is not None
        fields: object = None
        try:
            fields = section.free.convert(table, self.directory)
        except InvalidValueError as invalid:
            for issue in invalid.issues:
                hint = issue.hint or f"it takes {section.free.name}"
                self.problem(issue.error, issue.message, hint, (*at, *issue.at), on_key=issue.on_key)
            fields = invalid.rest
        return fields if isinstance(fields, dict) else {}

    def includes(self, value: object, at: KeyPath, rank: int, *, active: bool) -> None:
        if not self.is_table(value, at, "[includes]"):
            return
        assert isinstance(value, dict)
        paths = self.fields(INCLUDES, value, at).get("paths", ())
        if active and isinstance(paths, tuple):
            for index, written in enumerate(paths):
                self.parts.includes.append(Include(self.source, (*at, "paths", index), written, rank))

    def remove(self, value: object, at: KeyPath, *, active: bool) -> None:
        if not self.is_table(value, at, "[remove]"):
            return
        assert isinstance(value, dict)
        for key, names in self.fields(REMOVE, value, at).items():
            if active and isinstance(names, tuple):
                for index, name in enumerate(names):
                    self.parts.removals.append(Removal(self.source, (*at, key, index), (key, name)))

    def unknown_key(self, section: Section, key: str, at: KeyPath) -> None:
        known = [*section.settings, *_CHILDREN.get(section.path, ())]
        hint = did_you_mean(
            key, known, _elsewhere(key) or f"'nexis-eval options {section.path[0]}' lists what there is"
        )
        self.problem(errors.UnknownKeyError, f"unknown key '{key}' in {section.title}", hint, at, on_key=True)

    def unknown_root(self, key: str, at: KeyPath, known: list[str]) -> None:
        if key in PART_DOCS:
            hint = f"'{key}' cannot stand inside of [{'.'.join(str(each) for each in at[:-1])}]"
        else:
            around = _elsewhere(key) if self.source.text is None else _in_full(key)
            hint = did_you_mean(key, known, around or f"a file has these tables: {', '.join(known)}")
        where = " at the top of the file" if self.source.text is None else ""
        self.problem(errors.UnknownKeyError, f"unknown key '{key}'{where}", hint, at, on_key=True)

    def unknown_architecture(self, name: str, at: KeyPath) -> None:
        hint = did_you_mean(name, (*PLATFORMS, *ALIASES), f"one of {', '.join(PLATFORMS)}")
        self.problem(errors.UnknownArchitectureError, f"unknown architecture '{name}'", hint, at, on_key=True)


def _in_full(key: str) -> str | None:
    keys = [
        ".".join((*section.path, *(["NAME"] if section.form in (Form.NAMED, Form.LIST) else []), key))
        for section in SECTIONS
        if key in section.settings
    ]
    return f"write the whole key: {' or '.join(keys)}" if keys else None


def _elsewhere(key: str) -> str | None:
    owners = [section.title for section in SECTIONS if key in section.settings]
    owners += [
        f"[{'.'.join(section.path)}]" for section in SECTIONS if section.path[-1] == key and len(section.path) > 1
    ]
    if not owners:
        return None
    return f"'{key}' is a key of {' or '.join(owners)}; this line is inside another table"
