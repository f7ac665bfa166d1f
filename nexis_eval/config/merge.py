"""Merges what the files say: the strongest wins, equals must agree, lists are joined, tables go key by key."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from nexis_eval.config import errors
from nexis_eval.config.kinds import Merge
from nexis_eval.config.model import KeyPath
from nexis_eval.config.origin import Entry, Problem, Setter, Spot
from nexis_eval.config.parts import FORCE, Removal
from nexis_eval.config.settings import BY_PATH, Form, Section
from nexis_store.suggest import did_you_mean

Report = Callable[[Problem], None]


def decide(setters: Sequence[Setter], merge: Merge, report: Report, key: str) -> object:
    """The value that results when ``setters`` (in the order of the files) all set one key."""
    top = max(each.rank for each in setters)
    if merge is Merge.KEYS and all(isinstance(each.value, dict) for each in setters):
        return _by_key(setters, report, key)
    strongest = [each for each in setters if each.rank == top]
    if merge is Merge.JOIN:
        joined: dict[object, None] = {}
        if len(strongest) == 1:
            return strongest[0].value
        for each in strongest:
            assert isinstance(each.value, tuple)
            joined.update(dict.fromkeys(each.value))
        return tuple(joined)
    first = strongest[0]
    for other in strongest[1:]:
        if other.value != first.value or type(other.value) is not type(first.value):
            report(
                Problem(
                    errors.ConflictingValuesError,
                    f"'{key}' is set to two different values",
                    "delete one, or move the weaker below [default.…] or the stronger below [force.…]"
                    if other.source.text is None
                    else "give one value to a key",
                    Spot(other.source, other.at),
                    ((Spot(first.source, first.at), "the other value is here"),),
                )
            )
    return first.value


def _by_key(setters: Sequence[Setter], report: Report, key: str) -> dict[str, object]:
    groups: dict[str, list[Setter]] = {}
    for each in setters:
        assert isinstance(each.value, dict)
        for name, value in each.value.items():
            groups.setdefault(name, []).append(Setter(each.rank, each.source, (*each.at, name), value))
    # Within free tables, tables merge on and everything else (lists too) has to agree.
    return {name: decide(group, Merge.KEYS, report, f"{key}.{name}") for name, group in groups.items()}


def merge_fields(section: Section, entries: Sequence[Entry], report: Report) -> dict[str, object]:
    """One table out of what several files (or parts of a file) say about it."""
    if len(entries) == 1:
        return entries[0].fields
    groups: dict[str, list[Setter]] = {}
    for entry in entries:
        for key, value in entry.fields.items():
            groups.setdefault(key, []).append(Setter(entry.rank, entry.source, (*entry.at, key), value))
    prefix = ".".join(str(part) for part in entries[0].path)
    settings = section.settings
    return {
        key: decide(group, settings[key].kind.merge if key in settings else Merge.KEYS, report, f"{prefix}.{key}")
        for key, group in groups.items()
    }


def group(entries: Iterable[Entry], report: Report) -> dict[KeyPath, list[Entry]]:
    """The entries of each table of the result; two of the same strength for one item of a list are an error."""
    groups: dict[KeyPath, list[Entry]] = {}
    repeated: list[list[Entry]] = []
    for entry in entries:
        known = groups.get(entry.path)
        if known is None:
            groups[entry.path] = [entry]
        else:
            if len(known) == 1:
                repeated.append(known)
            known.append(entry)
    for known in repeated:
        section = BY_PATH.get(known[0].path[:1])
        if section is not None and section.form is Form.LIST:
            _check_duplicates(section, known, report)
    return groups


def check_changes(groups: Mapping[KeyPath, list[Entry]], report: Report) -> None:
    """Items of lists that are forced only: such tables change an item, and there is none to change."""
    for path, entries in groups.items():
        if entries[0].rank < FORCE or any(entry.rank < FORCE for entry in entries):
            continue
        section = BY_PATH.get((str(path[0]),))
        if section is None or section.form is not Form.LIST:
            continue
        entry, what = entries[0], section.path[0]
        names = [str(each[1]) for each in groups if each[0] == what and each != path]
        if entry.source.text is None:
            message = f"[[force.{what}]] changes '{path[1]}', which is not declared"
            hint = f"declare it with [[{what}]]"
        else:
            message = f"there is no [[{what}]] '{path[1]}' whose keys could be set"
            hint = f'declare it in a file: [[{what}]] {section.identity} = "{path[1]}"'
        report(
            Problem(
                errors.NothingToForceError,
                message,
                did_you_mean(str(path[1]), names, hint),
                Spot(entry.source, (*entry.at, section.identity)),
            )
        )


def _check_duplicates(section: Section, entries: list[Entry], report: Report) -> None:
    by_rank: dict[int, Entry] = {}
    name = entries[0].path[-1]
    for entry in list(entries):
        if entry.source.text is not None:
            # Each --set gives one key: several may be about one item.
            continue
        first = by_rank.setdefault(entry.rank, entry)
        if first is not entry:
            entries.remove(entry)
            what = "package" if section.path == ("packages",) else section.path[0].replace("_", " ")
            hint = "rename or delete one of the two"
            if first.source is not entry.source:
                hint = f"delete one of the two; to change some of its keys, write [[force.{section.path[0]}]]"
            report(
                Problem(
                    errors.DuplicateEntryError,
                    f"{what} '{name}' is declared twice",
                    hint,
                    Spot(entry.source, (*entry.at, section.identity)),
                    ((Spot(first.source, (*first.at, section.identity)), "first declared here"),),
                )
            )


def remove(groups: dict[KeyPath, list[Entry]], removals: Iterable[Removal], report: Report) -> None:
    """Take out what ``[remove]`` names; a name that is not there is an error."""
    gone = set()
    for removal in removals:
        if removal.path in groups:
            gone.add(removal.path)
            continue
        section, name = removal.path
        names = [str(path[1]) for path in groups if path[0] == section and len(path) == 2]
        report(
            Problem(
                errors.RemoveError,
                f"nothing to remove: there is no '{name}' in {BY_PATH[(str(section),)].title}",
                did_you_mean(str(name), names, "delete it from [remove]"),
                Spot(removal.source, removal.at),
            )
        )
    for path in gone:
        del groups[path]
