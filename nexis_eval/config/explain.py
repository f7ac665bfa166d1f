"""Who set a value, and why it counts. Reads what the merge read, so that it cannot say anything else."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from nexis_eval.config.kinds import Merge
from nexis_eval.config.merge import decide
from nexis_eval.config.model import KeyPath
from nexis_eval.config.origin import Origins, Problem, included_from
from nexis_eval.config.parts import strength
from nexis_eval.config.reference import toml_key
from nexis_eval.config.settings import BY_PATH, SECTIONS, Form, Section, Setting
from nexis_store.errors import NexisError, Place
from nexis_store.suggest import nearest


class UnknownKeyPathError(NexisError):
    """The key that ``explain`` was given names no setting, or something that the configuration does not have.

    Keys are written as in TOML: ``system.firewall.backend``, ``packages.zlib.version``, ``users.root``. Packages are
    named by their names, log rotations by their paths in quotes.
    """

    code = "C0601"
    exit_code = 2


@dataclass(frozen=True, slots=True)
class Step:
    """One place that set the value."""

    place: Place
    strength: str
    value: object
    counts: bool
    included_from: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """A value and everything that set it, strongest first."""

    key: str
    value: object
    is_set: bool
    rule: str
    steps: tuple[Step, ...]
    default: object
    """``dataclasses.MISSING`` where there is none."""
    setting: Setting | None
    section: Section


def parse_key(text: str) -> KeyPath:
    """Read a dotted key; raises ``UnknownKeyPathError``."""
    # Imported on use: an evaluation needs this module for its notes alone.
    import tomli

    try:
        table: object = tomli.loads(f"{text} = 0")
    except tomli.TOMLDecodeError:
        raise UnknownKeyPathError(f"'{text}' is not a key", hint="such as system.firewall.backend") from None
    path: list[str | int] = []
    while isinstance(table, dict):
        (key, table), *more = table.items()
        if more:
            raise UnknownKeyPathError(f"'{text}' is more than one key", hint="such as system.firewall.backend")
        path.append(key)
    return tuple(path)


def written_key(path: KeyPath) -> str:
    """A key path as TOML has it."""
    return ".".join(toml_key(each) for each in path)


def _suggest(name: str, known: Iterable[str]) -> str | None:
    near = nearest(name, known)
    return f"did you mean '{near}'?" if near else None


def _find_section(path: KeyPath) -> tuple[Section, int]:
    """The section that ``path`` leads into, and how many of its parts name the table."""
    names = [str(each) for each in path]
    for length in range(min(2, len(names)), 0, -1):
        section = BY_PATH.get(tuple(names[:length]))
        if section is not None:
            return section, length + (section.form in (Form.NAMED, Form.LIST))
    known = [".".join(map(str, each)) for each in BY_PATH]
    hint = _suggest(names[0], known) or "'nexis-eval options' lists all settings"
    raise UnknownKeyPathError(f"there is no table '{names[0]}'", hint=hint)


def keys_at(origins: Origins, path: KeyPath) -> list[KeyPath]:
    """The keys below a table: those that are set, in the order of the table of settings."""
    section, length = _find_section(path)
    if len(path) < length:
        return sorted((known for known in origins.entries if known[: len(path)] == path), key=str)
    if len(path) > length:
        return []
    found: dict[KeyPath, None] = {}
    for entry in origins.entries.get(path, ()):
        found.update(dict.fromkeys((*path, key) for key in entry.fields))
    order = list(section.settings)
    keys = sorted(found, key=lambda each: order.index(str(each[-1])) if each[-1] in order else len(order))
    children = [known for known in origins.entries if len(known) > len(path) and known[: len(path)] == path]
    return keys + [child for child in children if child not in found]


def explain(origins: Origins, path: KeyPath) -> Explanation:
    """Explain the value at ``path``; raises ``UnknownKeyPathError``."""
    section, length = _find_section(path)
    key = written_key(path)
    table = path[:length]
    if section.form in (Form.NAMED, Form.LIST) and table not in origins.entries:
        names = [str(each[-1]) for each in origins.entries if each[:-1] == table[:-1]]
        what = section.title.replace("NAME", str(table[-1]))
        hint = _suggest(str(table[-1]), names) or f"there are: {', '.join(sorted(names)[:10]) or 'none'}"
        removed = [each.shown for each in origins.sources if each.directives and table in each.directives.removals]
        if removed:
            hint = f"[remove] in {removed[0]} takes it out"
        raise UnknownKeyPathError(f"the configuration has no {what} '{table[-1]}'", hint=hint)
    setting: Setting | None = None
    default: object = dataclasses.MISSING
    if section.free is None:
        name = str(path[length])
        setting = section.settings.get(name)
        if setting is None:
            known = [f"{written_key(table)}.{each}" for each in section.settings]
            hint = _suggest(f"{written_key(table)}.{name}", known) or "'nexis-eval options' lists all settings"
            raise UnknownKeyPathError(f"there is no setting '{name}' in {section.title}", hint=hint)
        if len(path) == length + 1:
            default = section.default(name)
    merge = setting.kind.merge if setting is not None and len(path) == length + 1 else Merge.KEYS
    setters = origins.setters(path)
    problems: list[Problem] = []
    value = decide(setters, merge, problems.append, key) if setters else default
    top = max((each.rank for each in setters), default=0)
    merged = merge is Merge.KEYS and bool(setters) and all(isinstance(each.value, Mapping) for each in setters)
    steps = tuple(
        Step(
            each.source.place(each.at),
            strength(each.rank),
            each.value,
            merged or each.rank == top,
            included_from(each.source),
        )
        for each in sorted(setters, key=lambda each: -each.rank)
    )
    rule = _rule(len(setters), sum(each.rank == top for each in setters), merged, merge, default)
    return Explanation(key, value, bool(setters), rule, steps, default, setting, section)


def without_effect(origins: Origins) -> list[KeyPath]:
    """The settings that the configuration sets and that nothing reads yet."""
    found: list[KeyPath] = []
    for section in SECTIONS:
        idle = [key for key, setting in section.settings.items() if not setting.used_by]
        if not idle:
            continue
        tables = [section.path] if section.form is Form.TABLE else origins.entries
        for path in tables:
            if path[: len(section.path)] == section.path:
                fields = {key for entry in origins.entries.get(path, ()) for key in entry.fields}
                found += [(*path, key) for key in idle if key in fields]
    return found


def _rule(number: int, strongest: int, merged: bool, merge: Merge, default: object) -> str:
    if number == 0:
        return "nothing sets it" + ("" if default is dataclasses.MISSING else ": it has its default")
    if number == 1:
        return "one place sets it"
    if merged:
        return "tables are merged key by key"
    if strongest == 1:
        return "the strongest counts"
    if merge is Merge.JOIN:
        return "lists of equal strength are joined, in the order of the includes"
    return "places of equal strength agree"
