"""The packages of a configuration whose files were edited, read from the files that have them when they are wanted."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from nexis_eval.config import toml
from nexis_eval.config.merge import check_changes, group, merge_fields
from nexis_eval.config.model import Config, Package, package_of
from nexis_eval.config.origin import Directives, Entry, Problem, Source, shown_path
from nexis_eval.config.parts import Parts
from nexis_eval.config.settings import BY_PATH
from nexis_eval.evaluation.excerpt import Excerpt, differing
from nexis_eval.evaluation.state import Said, State, said


class ReachesFurtherError(Exception):
    """The edit is not one that can be taken in, or may be a mistake: everything has to be evaluated."""


class Tables(Mapping[str, Package]):
    """By name. Raises ``ReachesFurtherError`` for whatever is not as plain as it should be."""

    def __init__(self, state: State, config: Config, profiles: Collection[str], texts: Mapping[str, str]) -> None:
        """``texts`` are those of the files as they were."""
        self._config = config
        self._profiles = frozenset(profiles)
        self._overridden = state.overridden
        self.files: dict[str, Said] = dict(state.files)
        """What each file says now, in the order in which that is merged."""
        self.texts = dict(texts)
        """Of each file that was read again, what it is now."""
        self._in_part: set[str] = set()
        """Files of which only what differs was read."""
        self._entries: dict[str, dict[str, list[Entry]]] = {}
        self._owners: dict[str, list[str]] = {}
        """The files that have a say in a package."""
        self._removed: set[str] = set()
        self._known: dict[str, Package] = {}

    def again(self, file: str) -> set[str]:
        """Read a file that changed; returns the packages that it had, has or lets go a say in."""
        before, text = self.files[file], self._text(file)
        part = differing(self.texts[file], text) if file in self.texts else None
        self.texts[file] = text
        if part is not None:
            return self._again_in_part(file, part)
        now = said(before.rank, *self._read(file))
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

    def _again_in_part(self, file: str, part: Excerpt) -> set[str]:
        known = self.files[file]
        before, after = (said(known.rank, *self._parsed(file, {"packages": each})) for each in part)
        names = [*known.names]
        for name in before.names:
            names.remove(name)
        self.files[file] = known._replace(names=(*names, *after.names), needed=(*known.needed, *after.needed))
        self._in_part.add(file)
        return {*before.names, *after.names}

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
        for file, each in [*self.files.items()]:
            if not set(names).isdisjoint(each.needed):
                self.files[file] = said(each.rank, *self._read(file))
                if not set(names).isdisjoint(self.files[file].needed):
                    return True
        return False

    def _made(self, name: str) -> Package:
        if name in self._overridden or name not in self:
            raise ReachesFurtherError
        owners = self._owners[name]
        if len(owners) == 1 and owners[0] in self._in_part and name in self._entries[owners[0]]:
            found = self._entries[owners[0]][name]
        else:
            found = [entry for file in dict.fromkeys(owners) for entry in self._of_file(file).get(name, ())]
        fields = found[0].fields
        if len(found) > 1 or found[0].rank:
            problems: list[Problem] = []
            groups = group(found, problems.append)
            check_changes(groups, problems.append)
            fields = merge_fields(BY_PATH[("packages",)], groups[found[0].path], problems.append)
            if problems:
                raise ReachesFurtherError
        return package_of(fields)

    def _of_file(self, file: str) -> dict[str, list[Entry]]:
        if file not in self._entries or file in self._in_part:
            self._read(file)
        return self._entries[file]

    def _text(self, file: str) -> str:
        path = Path(file)
        return toml.read_text(path, shown_path(path))

    def _read(self, file: str) -> tuple[Directives, list[Entry]]:
        """Read a whole file."""
        text = self.texts.get(file)
        if text is None:
            text = self.texts[file] = self._text(file)
        self._in_part.discard(file)
        return self._parsed(file, toml.parse(text, file))

    def _parsed(self, file: str, table: dict[str, object]) -> tuple[Directives, list[Entry]]:
        path = Path(file)
        parts = Parts(self._config.arch, self._profiles)
        parts.read(Source(path, shown_path(path)), table, self.files[file].rank)
        if parts.problems:
            raise ReachesFurtherError
        by_name = self._entries[file] = {}
        for entry in parts.entries:
            if entry.path[0] == "packages":
                by_name.setdefault(str(entry.path[1]), []).append(entry)
        return parts.directives(), parts.entries
