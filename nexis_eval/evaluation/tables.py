"""The packages of a configuration whose files were edited, read from the files that have them when they are wanted."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from nexis_eval.config import toml
from nexis_eval.config.merge import check_changes, group, merge_fields
from nexis_eval.config.model import Config, Package
from nexis_eval.config.origin import Directives, Entry, Problem, Source, shown_path
from nexis_eval.config.parts import Parts
from nexis_eval.config.settings import BY_PATH
from nexis_eval.evaluation.state import Said, State, said


class ReachesFurtherError(Exception):
    """The edit is not one that can be taken in, or may be a mistake: everything has to be evaluated."""


class Tables(Mapping[str, Package]):
    """By name. Raises ``ReachesFurtherError`` for whatever is not as plain as it should be."""

    def __init__(self, state: State, config: Config, profiles: Collection[str]) -> None:
        self._config = config
        self._profiles = frozenset(profiles)
        self._overridden = state.overridden
        self.files: dict[str, Said] = dict(state.files)
        """What each file says now, in the order in which that is merged."""
        self._entries: dict[str, dict[str, list[Entry]]] = {}
        self._owners: dict[str, list[str]] = {}
        """The files that have a say in a package."""
        self._removed: set[str] = set()
        self._known: dict[str, Package] = {}

    def again(self, file: str) -> set[str]:
        """Read a file that changed; returns the packages that it had, has or lets go a say in."""
        before = self.files[file]
        entries, directives = self._read(file, before.rank)
        now = said(before.rank, directives, entries)
        old, new = before.directives, now.directives
        removals, gone = {*new.removals}, {*old.removals}
        if now.rest != before.rest or new.includes != old.includes:
            raise ReachesFurtherError
        if any(path[0] != "packages" for path in removals ^ gone):
            raise ReachesFurtherError
        if self._profiles & ({*old.profiles} - {*new.profiles}):
            raise ReachesFurtherError
        self.files[file] = now
        return {*before.names, *now.names, *(str(path[1]) for path in removals ^ gone)}

    def finish(self) -> None:
        """All files that changed are read: see that what is removed is there to be removed."""
        for each in self.files.values():
            self._removed.update(str(path[1]) for path in each.directives.removals if path[0] == "packages")
        for file, each in self.files.items():
            for name in each.names:
                self._owners.setdefault(name, []).append(file)
        if not self._removed <= self._owners.keys():
            raise ReachesFurtherError

    def __getitem__(self, name: str) -> Package:
        known = self._known.get(name)
        if known is None:
            known = self._known[name] = self._made(name)
        return known

    def __contains__(self, name: object) -> bool:
        return name in self._owners and name not in self._removed

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._owners if name not in self._removed)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def mentioned(self, names: Collection[str]) -> bool:
        """Whether some package may depend on one of these."""
        return any(not set(names).isdisjoint(each.needed) for each in self.files.values())

    def _made(self, name: str) -> Package:
        if name in self._overridden or name not in self:
            raise ReachesFurtherError
        found = [entry for file in self._owners[name] for entry in self._of_file(file).get(name, ())]
        fields = found[0].fields
        if len(found) > 1 or found[0].rank:
            problems: list[Problem] = []
            groups = group(found, problems.append)
            check_changes(groups, problems.append)
            fields = merge_fields(BY_PATH[("packages",)], groups[found[0].path], problems.append)
            if problems:
                raise ReachesFurtherError
        return Package(**fields)  # type: ignore[arg-type]

    def _of_file(self, file: str) -> dict[str, list[Entry]]:
        known = self._entries.get(file)
        if known is None:
            self._read(file, self.files[file].rank)
            known = self._entries[file]
        return known

    def _read(self, file: str, rank: int) -> tuple[list[Entry], Directives]:
        path = Path(file)
        source = Source(path, shown_path(path))
        parts = Parts(self._config.arch, self._profiles)
        parts.read(source, toml.parse(toml.read_text(path, source.shown), source.shown), rank)
        if parts.problems:
            raise ReachesFurtherError
        by_name = self._entries[file] = {}
        for entry in parts.entries:
            if entry.path[0] == "packages":
                by_name.setdefault(str(entry.path[1]), []).append(entry)
        return parts.entries, parts.directives()
