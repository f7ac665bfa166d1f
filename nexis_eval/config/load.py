"""From files to the typed configuration: reads, includes, merges, builds the frozen values, reports all mistakes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from nexis_eval.collecting import without_collecting
from nexis_eval.config import errors, toml
from nexis_eval.config.check import Elsewhere, check, near_file
from nexis_eval.config.errors import ConfigError, ConfigErrors
from nexis_eval.config.kernel import with_kernel
from nexis_eval.config.listing import PATTERN, list_files
from nexis_eval.config.merge import check_changes, group, merge_fields, remove
from nexis_eval.config.model import Config, KeyPath
from nexis_eval.config.origin import Entry, Origins, Problem, Source, Spot, included_from, located, shown_path
from nexis_eval.config.parts import ORDINARY, OVERRIDE, Include, Parts
from nexis_eval.config.settings import BY_PATH, SECTIONS, Form, Section
from nexis_eval.platforms import platform_named
from nexis_eval.secrets import blotted_override
from nexis_store.errors import Place
from nexis_store.suggest import did_you_mean

_ITEMS = (Form.NAMED, Form.LIST)
"""Sections that have items."""
_DEEPEST = 100
"""Includes inside of includes: more is a mistake, and would end Python's stack."""


def load(file: Path, *, arch: str = "x86_64", profiles: Sequence[str] = (), overrides: Sequence[str] = ()) -> Config:
    """Load the configuration in ``file`` for one architecture.

    ``profiles`` names the ``[profile.NAME]`` parts that count. ``overrides`` are ``KEY=VALUE`` texts that win over each
    file. Reads the files and nothing else: no network, no clock, no environment. Raises ``ConfigErrors`` with all
    mistakes, and ``UnknownPlatformError``.
    """
    return load_with_origins(file, arch=arch, profiles=profiles, overrides=overrides)[0]


def load_with_origins(
    file: Path, *, arch: str = "x86_64", profiles: Sequence[str] = (), overrides: Sequence[str] = ()
) -> tuple[Config, Origins]:
    """The same, and who set what."""
    platform = platform_named(arch)
    with without_collecting():
        loader = _Loader(Parts(platform.arch, frozenset(profiles)))
        loader.root(file)
        loader.overrides(overrides)
        loader.check_profiles(profiles)
        return _finish(loader)


def load_tables(
    file: Path, *names: str, arch: str = "x86_64", profiles: Sequence[str] = (), overrides: Sequence[str] = ()
) -> dict[str, dict[str, object]]:
    """Some tables of a configuration, by name, whatever may be wrong with the others.

    Raises ``ConfigErrors`` for what is wrong with these, and for files that cannot be read.
    """
    parts = Parts(platform_named(arch).arch, frozenset(profiles))
    loader = _Loader(parts)
    loader.root(file)
    loader.overrides(overrides)
    entries = [entry for entry in parts.entries if entry.path[0] in names]
    problems = [each for each in parts.problems if not {*names}.isdisjoint(each.spot.at)]
    tables = {
        str(path[0]): merge_fields(BY_PATH[(str(path[0]),)], entries, problems.append)
        for path, entries in group(entries, problems.append).items()
    }
    if problems or loader.failed:
        raise ConfigErrors([*loader.failed, *located(problems, loader.sources)])
    return {name: tables.get(name, {}) for name in names}


class _Loader:
    """Follows the includes; a file's own parts come after those of the files that it includes."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.sources: list[Source] = []
        self.by_path: dict[str, Source] = {}
        """By the path without symbolic links, so that no detour through one makes a file another."""
        self.turns = 0
        """How many files were taken in, with all that they include."""
        self.listings: dict[tuple[str, str], tuple[str, ...]] = {}
        self.failed: list[ConfigError] = []
        """Files that could not be read: what depends on their content cannot be judged."""

    def root(self, file: Path) -> None:
        path = Path(os.path.abspath(file))  # noqa: PTH100 - resolve() would follow links, which a user did not write
        source = Source(path, shown_path(path))
        try:
            self.file(source, ORDINARY)
        except OSError as error:
            where = Place(source.shown)
            hint = "name the file, or go to its directory: the default is ./system.toml"
            if path.is_dir():
                hint = f"name a file in it: {shown_path(path / 'system.toml')}"
            self.failed.append(
                errors.MissingFileError(f"cannot read the file: {error.strerror}", hint=hint, place=where)
            )

    def file(self, source: Source, rank: int) -> None:
        """Take in one file and what it includes; raises ``OSError`` if it cannot be read."""
        self.by_path[os.path.realpath(source.path)] = source
        self.sources.append(source)
        try:
            table = toml.parse(toml.read_text(source.path, source.shown), source.shown)
        except ConfigError as error:
            error.included_from = included_from(source)
            self.failed.append(error)
            return
        # What is found on the way is shared, what merges in an order of its own is not.
        own = replace(self.parts, entries=[], includes=[], removals=[], known_profiles=set())
        own.read(source, table, rank)
        self.parts.known_profiles |= own.known_profiles
        source.rank, source.directives = rank, own.directives()
        for include in own.includes:
            self.include(include)
        self.turns += 1
        source.turn, source.entries = self.turns, own.entries
        self.parts.entries += own.entries
        self.parts.removals += own.removals

    def include(self, include: Include) -> None:
        paths = self.expand(include)
        for path in paths:
            first = self.by_path.get(os.path.realpath(path))
            if first is not None:
                self.repeated(include, first)
                continue
            source = Source(path, shown_path(path), (include.source, include.at))
            if sum(1 for _ in source.chain()) > _DEEPEST:
                self.missing(
                    include, f"includes are nested more than {_DEEPEST} deep", "include some of them from above"
                )
                continue
            try:
                if path.exists() and not path.is_file():
                    self.missing(include, f"cannot include '{include.written}': not a file", "name a file")
                    continue
                self.file(source, include.rank)
            except OSError as error:
                if source in self.sources:
                    self.sources.remove(source)
                    del self.by_path[os.path.realpath(path)]
                message = f"cannot include '{include.written}': {error.strerror}"
                self.missing(include, message, near_file(include.written, path))

    def expand(self, include: Include) -> list[Path]:
        """The files that a path, pattern or directory stands for, in the order of their names."""
        directory = include.source.directory
        files = list_files(directory, include.written)
        if files is None:
            # Not resolve(): messages are to name files as the user did.
            return [Path(os.path.normpath(os.path.join(directory, include.written)))]  # noqa: PTH118
        self.listings[directory, include.written] = files
        if not files and PATTERN & set(include.written):
            self.missing(include, f"no file matches '{include.written}'", "correct or delete the pattern")
        return [path for path in map(Path, files) if path != include.source.path]

    def missing(self, include: Include, message: str, hint: str) -> None:
        problem = Problem(errors.MissingIncludeError, message, hint, Spot(include.source, include.at))
        self.failed.append(problem.located())

    def repeated(self, include: Include, source: Source) -> None:
        spot = Spot(include.source, include.at)
        around = [include.source, *(source for source, _ in include.source.chain())]
        if source in around:
            cycle = [each.shown for each in reversed(around[: around.index(source) + 1])]
            self.parts.problems.append(
                Problem(
                    errors.IncludeCycleError,
                    f"the file includes itself: {' → '.join([*cycle, source.shown])}",
                    "take one link out, or move shared settings into a file that both include",
                    spot,
                )
            )
            return
        first = source.included_by
        assert first is not None
        self.parts.problems.append(
            Problem(
                errors.DuplicateIncludeError,
                f"'{include.written}' is included twice",
                "each file counts once: delete one of the two",
                spot,
                ((Spot(*first), "first included here"),),
            )
        )

    def overrides(self, texts: Sequence[str]) -> None:
        for text in texts:
            source = Source(Path.cwd() / "--set", f"--set {blotted_override(text)}", text=text)
            try:
                tables = list(_override_tables(text, source.shown))
            except ConfigError as error:
                self.failed.append(error)
                continue
            self.sources.append(source)
            readings = [self._reading(source, table) for table in tables]
            # What suits counts; where nothing does, the text is taken as it is written.
            own = next((each for each in readings if not each.problems), readings[0])
            source.entries = own.entries
            self.parts.entries += own.entries
            self.parts.problems += own.problems
            self.parts.elsewhere |= own.elsewhere

    def _reading(self, source: Source, table: Mapping[str, object]) -> Parts:
        own = replace(self.parts, entries=[], problems=[], elsewhere={})
        own.read(source, table, OVERRIDE)
        return own

    def check_profiles(self, profiles: Iterable[str]) -> None:
        if self.failed:
            return
        for name in profiles:
            if name not in self.parts.known_profiles:
                known = ", ".join(sorted(self.parts.known_profiles)) or "none"
                hint = did_you_mean(name, self.parts.known_profiles, f"profiles that the configuration has: {known}")
                message = f"no [profile.{name}] in the configuration"
                self.failed.append(errors.UnknownProfileError(message, hint=hint, place=Place(self.sources[0].shown)))


def _override_tables(text: str, shown: str) -> Iterator[dict[str, object]]:
    """What ``KEY=VALUE`` can mean: the value as TOML, or the characters as they are.

    A bare word is a string, and so is ``1.3`` where a string is wanted: the quotes of TOML inside those of a shell are
    a nuisance. Raises ``OverrideSyntaxError``.
    """
    key, equals, value = text.partition("=")
    if not equals:
        raise errors.OverrideSyntaxError("there is no '=' in it", hint="write KEY=VALUE", place=Place(shown))
    written = f'{key} = """{value.strip()}"""'
    try:
        try:
            yield _by_name(toml.parse(text, shown))
        except ConfigError:
            yield _by_name(toml.parse(written, shown))
            return
    except ConfigError as error:
        hint = "write KEY=VALUE, both as in TOML"
        raise errors.OverrideSyntaxError(error.message, hint=hint, place=Place(shown)) from None
    if value.strip()[:1] not in ('"', "'", "[", "{"):
        yield _by_name(toml.parse(written, shown))


def _by_name(table: dict[str, object]) -> dict[str, object]:
    """An override, in which ``packages.zlib.version`` is a key of the package of that name, as ``explain`` has it."""
    found = dict(table)
    for section in SECTIONS:
        items = table.get(section.path[0])
        if section.form is Form.LIST and isinstance(items, dict) and all(isinstance(e, dict) for e in items.values()):
            found[section.path[0]] = [{**each, section.identity: name} for name, each in items.items()]
    return found


def _finish(loader: _Loader) -> tuple[Config, Origins]:
    problems = loader.parts.problems
    groups = group(loader.parts.entries, problems.append)
    if not loader.failed:
        check_changes(groups, problems.append)
        remove(groups, loader.parts.removals, problems.append)
    origins = Origins(loader.sources, groups, loader.listings)
    config = _build(loader.sources, loader.parts.arch, groups, origins, problems)
    meant_for = config.system.architectures
    if meant_for and config.arch not in meant_for:
        # Whatever else may be wrong for it is of no interest.
        raise ConfigErrors([_not_meant_for(config.arch, meant_for, origins)])
    if not loader.failed:
        removed = {each.path: Spot(each.source, each.at) for each in loader.parts.removals}
        check(config, origins, problems, Elsewhere(removed, loader.parts.elsewhere))
    if problems or loader.failed:
        order = {source.shown: index for index, source in enumerate(loader.sources)}
        found = [*loader.failed, *located(problems, loader.sources)]
        found.sort(key=lambda error: (order.get(error.place.file, -1), error.place) if error.place else (-1, Place("")))
        raise ConfigErrors(found)
    return with_kernel(config), origins


def _not_meant_for(arch: str, meant_for: Sequence[str], origins: Origins) -> ConfigError:
    return Problem(
        errors.ArchitectureError,
        f"system.architectures does not include '{arch}'",
        f"choose {' or '.join(f'--arch {each}' for each in meant_for)}, or add '{arch}' to the list",
        origins.spot(("system", "architectures")),
    ).located()


def _build(
    sources: Sequence[Source],
    arch: str,
    groups: Mapping[KeyPath, list[Entry]],
    origins: Origins,
    problems: list[Problem],
) -> Config:
    """The frozen values. A table that lacks a required key is reported and left out."""
    items: dict[KeyPath, dict[str, dict[str, object]]] = {each.path: {} for each in SECTIONS if each.form in _ITEMS}
    tables: dict[KeyPath, dict[str, object]] = {}
    for path, entries in groups.items():
        merged = entries[0].fields
        section = BY_PATH.get(path) or BY_PATH[path[:-1]]
        if len(entries) > 1:
            merged = merge_fields(section, entries, problems.append)
        if section.form in _ITEMS:
            items[section.path][str(path[-1])] = merged
        else:
            tables[path] = {**merged}
    values: dict[str, object] = {}
    # What lies in another section is there before the section is made.
    for section in sorted(SECTIONS, key=lambda each: -len(each.path)):
        if section.form in _ITEMS:
            found = items[section.path]
            _require(section, found, origins, problems)
            value: object = {name: section.value(_named(section, name, found[name])) for name in sorted(found)}
        elif section.path in tables:
            value = section.value(tables[section.path])
        else:
            continue
        around = values if len(section.path) == 1 else tables.setdefault(section.path[:-1], {})
        around[section.field or section.path[-1]] = value
    return Config(
        file=sources[0].path if sources else Path(),
        files=tuple(source.path for source in sources if source.text is None),
        arch=arch,
        place=origins.place,
        **values,  # type: ignore[arg-type]
    )


def _named(section: Section, name: str, fields: dict[str, object]) -> dict[str, object]:
    return {"name": name, **fields} if section.form is Form.NAMED else fields


def _require(section: Section, tables: dict[str, dict[str, object]], origins: Origins, problems: list[Problem]) -> None:
    wrong = origins.keys_of(problems)
    required = [key for key, setting in section.settings.items() if setting.required]
    for name, fields in list(tables.items()):
        for key in required:
            if key in fields:
                continue
            tables.pop(name, None)
            if (*section.path, name, key) in wrong:
                continue
            problems.append(
                Problem(
                    errors.MissingKeyError,
                    f"{section.title.replace('NAME', name)} has no '{key}'",
                    f"add {key} = …",
                    origins.spot((*section.path, name)),
                )
            )
