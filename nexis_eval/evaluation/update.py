"""Takes an edit of files into a graph: makes what it can have changed, and nothing else.

The packages that the changed files, patches and pins are about are made again. Where one comes out otherwise, all that
depends on it gets a new identity; all other bytes of the graph stay. The parts of the system are made again where an
edit changed what they read of packages. What nobody needs any more is dropped. Whatever could reach further (another
section, an include, the rules) and whatever may be a mistake gives ``None``, and everything is evaluated.
The result is that of a whole evaluation, to the byte; ``tests/eval/evaluation/test_edited.py`` compares them.
"""

from __future__ import annotations

import pickle
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import chain

from nexis_eval.build_rules.model import Role, Rule
from nexis_eval.config.check import DEPENDENCY_KEYS, check_each_package, find_cycles
from nexis_eval.config.model import Config, Package
from nexis_eval.config.origin import Origins, Problem, Source
from nexis_eval.evaluation.directories import is_in, rules_of, toolchain_of
from nexis_eval.evaluation.patch import Patch
from nexis_eval.evaluation.state import State, named_files
from nexis_eval.evaluation.tables import ReachesFurtherError, Tables
from nexis_eval.graph.packed import NOWHERE, Nodes
from nexis_eval.graph.target import Targets
from nexis_eval.instantiate import Instantiator, system_targets
from nexis_eval.lock.changes import changed_packages
from nexis_eval.lock.model import Lock, parse_lock
from nexis_eval.packages.making import Memory, Unit, Units, runtime_names
from nexis_eval.platforms import platform_named
from nexis_eval.system.view import SystemView, UnrecordedError
from nexis_store.errors import NexisError

MISTAKES: tuple[type[Exception], ...] = (ReachesFurtherError, UnrecordedError, NexisError, OSError)
"""What an edit may lead to that only the whole evaluation can report, or take in."""
FALLBACK: tuple[type[Exception], ...] = (*MISTAKES, KeyError)
"""A bug of this package as well: people get a whole evaluation instead. Tests get the bug."""


@dataclass(frozen=True, slots=True)
class Update:
    """What became of a graph."""

    nodes: Nodes
    targets: Targets
    rules: Mapping[str, Rule]
    """The rules that were called anew, by digest."""
    state: State
    texts: dict[str, str]
    """Of the files of the configuration, now."""


def update(
    state: State,
    changed: Sequence[str],
    profiles: Sequence[str],
    lock_file: str,
    lock: str,
    rules: Mapping[str, Rule],
    nodes: Nodes,
    texts: Mapping[str, str],
) -> Update | None:
    """Take an edit of the files ``changed`` into a graph; ``None`` if everything has to be evaluated.

    ``lock`` is the text of ``lock_file`` now; ``rules`` are those that its packages call, by name; ``nodes`` are
    those of the graph, ``texts`` those of the files of the configuration before the edit.
    """
    try:
        edit = _Edit(state, changed, profiles, lock_file, lock, texts)
        return edit.made(rules, nodes)
    except FALLBACK:
        # A mistake is reported by the whole evaluation, which knows its place.
        return None


class _Edit:
    """What is edited: which packages are made again, which are gone, and whether the system is made again."""

    def __init__(
        self,
        state: State,
        changed: Sequence[str],
        profiles: Sequence[str],
        lock_file: str,
        lock: str,
        texts: Mapping[str, str],
    ) -> None:
        self.state, self.memory, self.lock_text = state, state.memory, lock
        self.base: Config = pickle.loads(state.base)
        self.tables = Tables(state, self.base, profiles, texts)
        self.reads = state.reads
        self.system = False
        names = {name for file in changed if file in state.files for name in self.tables.again(file)}
        self.tables.finish()
        for file in changed:
            if file in state.files:
                continue
            if file == lock_file:
                locks = [parse_lock(text) if text else Lock() for text in (state.lock, lock)]
                names |= {each for each in changed_packages(*locks) if each in self.tables}
            else:
                names |= self._naming(file)
        self.present = {name: self.tables[name] for name in names if name in self.tables}
        self.gone = {name for name in names if name not in self.present}
        if any(self._runs_otherwise(name) for name in names):
            # A smoke test sees all that its package needs at run time.
            self.present.update({name: self.tables[name] for name in self.memory.tried if name not in self.gone})
        # Reading it takes longer than most edits, and most edits are of packages that are not in it.
        self.lock = parse_lock(lock) if any(name in lock for name in self.present) else Lock()
        self._check()
        self._compare_reads()

    def _naming(self, file: str) -> set[str]:
        """The packages that name a file of the user's; notes whether the parts of the system read it."""
        base = self.base
        if is_in(file, base.rules):
            raise ReachesFurtherError
        naming = set(self.state.locals.get(file, ()))
        read = file in self.reads.files
        kernel = base.system.kernel_config
        if not (naming or read) or (kernel is not None and str(kernel.path) == file):
            raise ReachesFurtherError
        self.system |= read
        return naming

    def _runs_otherwise(self, name: str) -> bool:
        before = self.memory.runtime.get(name)
        return before is not None and (name in self.gone or runtime_names(self.present[name]) != before)

    def _check(self) -> None:
        """See that nothing is wrong with what is edited, as far as a whole evaluation would look at it."""
        if self.gone & {*self.base.conflicts.values()} or self.tables.mentioned(self.gone):
            raise ReachesFurtherError
        needed = {name: _needed(package) for name, package in self.present.items()}
        if not all(each in self.tables for each in chain.from_iterable(needed.values())) or find_cycles(needed):
            raise ReachesFurtherError
        for package in self.present.values():
            if package.debian and (package.build_dependencies or package.native_dependencies):
                # The graph does not show these, so a circle through them would not be seen.
                raise ReachesFurtherError
        problems: list[Problem] = []
        base = self.base
        check_each_package(replace(base, packages=self.present), Origins([Source(base.file, str(base.file))]), problems)
        if problems:
            raise ReachesFurtherError

    def _compare_reads(self) -> None:
        """See whether the edit is one of what the parts of the system read of packages."""
        reads, installed = self.reads, dict(self.reads.installed)
        for name in (*self.gone, *self.present):
            package = self.present.get(name)
            version, row = (None, None) if package is None else (package.version, reads.row(package))
            if row == installed.get(name) and version == reads.versions.get(name, version):
                continue
            if name in reads.versions:
                raise ReachesFurtherError
            self.system = True
            installed.pop(name, None)
            if row is not None:
                installed[name] = row
        self.reads = replace(reads, installed=installed)

    def made(self, rules: Mapping[str, Rule], nodes: Nodes) -> Update:
        """Make it."""
        return _Remaking(self, rules, nodes).result()


class _Remaking:
    """Makes what is edited."""

    def __init__(self, edit: _Edit, rules: Mapping[str, Rule], nodes: Nodes) -> None:
        self.edit, self.nodes = edit, nodes
        memory = edit.memory
        touched = {*edit.present, *edit.gone}
        self.target = platform_named(edit.base.arch)
        self.before: dict[tuple[str, str], Unit] = {}
        """What the packages consisted of that are edited."""
        self.units: Units = {}
        """All other packages."""
        for arch, units in memory.units.items():
            self.units[arch] = {**units}
            for name in touched & units.keys():
                self.before[arch, name] = self.units[arch].pop(name)
        toolsets = {name: nodes.ids[number] for name, number in edit.state.toolsets.items()}
        self.build_arch = edit.base.build.platform
        self.patch = Patch(nodes, toolsets, self.build_arch)
        self.toolchain = cache(partial(toolchain_of, edit.base.rules))
        self.maker = Instantiator(
            replace(edit.base, packages=edit.tables),
            edit.lock,
            _with_others(rules, edit.present.values(), edit.base),
            self.toolchain,
            self.patch,
            Memory(
                self.units,
                memory.rule_toolsets,
                memory.toolset_nodes,
                tuple(name for name in memory.tried if name not in touched),
                {
                    # What is made again need not be a smoke test's, so it is not asked for what that sees.
                    name: runtime_names(edit.present[name]) if name in edit.present else each
                    for name, each in memory.runtime.items()
                    if name not in edit.gone
                },
            ),
            self._note_made,
        )

    def result(self) -> Update:
        edit, patch = self.edit, self.patch
        self._see_that_nothing_is_contested()
        made = self._made_packages()
        order = self._places_of_new(made)
        for each in range(patch.count, patch.count + len(patch.added)):
            # Parts of new tool sets need nothing but each other.
            order.setdefault(each, 0)
        arch = self.target.arch
        built = {name: numbers[-1] for name, (numbers, _) in (self.units[arch] | made[arch]).items()}
        if edit.system:
            view = SystemView.remembered(edit.base.sections(), edit.reads)
            installed = {name: patch.nodes.ids[built[name]] for name in sorted(edit.reads.installed)}
            system, paths = system_targets(view, patch, self.toolchain(), installed), dict(patch.paths)
            reads = view.reads()
        else:
            system, paths, reads = dict(edit.state.system), dict(edit.state.paths), edit.reads
        numbers = {name: patch.nodes.index[identity] for name, identity in patch.toolsets.items()}
        dropped = self._dropped(made, [*built.values(), *system.values()])
        nodes, place, same = patch.arranged(dropped, order)
        toolsets = {name: number for name, number in numbers.items() if number not in dropped}
        memory = self.maker.memory()
        state = replace(
            edit.state,
            files=edit.tables.files,
            locals=self._locals(),
            lock=edit.lock_text,
            reads=reads,
            system={name: place[number] for name, number in system.items()},
            toolsets={name: place[number] for name, number in toolsets.items()},
            paths={place[number]: path for number, path in paths.items() if place[number] != NOWHERE},
            memory=replace(
                memory,
                units={
                    arch: (each if same else _placed(each, place)) | _placed(made[arch], place)
                    for arch, each in self.units.items()
                },
                rule_toolsets={**edit.memory.rule_toolsets, **memory.rule_toolsets},
                toolset_nodes={
                    names: tuple(found)
                    for names, sets in memory.toolset_nodes.items()
                    if NOWHERE not in (found := [place[each] for each in sets])
                },
            ),
        )
        ids = nodes.ids
        targets = Targets(
            {name: ids[place[number]] for name, number in built.items()},
            {part: ids[place[number]] for part, number in system.items()},
            {name: ids[place[number]] for name, number in toolsets.items()},
        )
        return Update(nodes, targets, self.maker.rules(), state, edit.tables.texts)

    def _see_that_nothing_is_contested(self) -> None:
        """A node that others have as well may have what is no part of its identity from a package that is edited."""
        nodes = self.nodes
        for numbers, _ in self.before.values():
            if numbers[-1] in nodes.shared or not nodes.contested.isdisjoint(numbers):
                raise ReachesFurtherError

    def _made_packages(self) -> Units:
        """The packages that are edited, made again."""
        arch, present = self.target.arch, self.edit.present
        wanted = [(arch, name) for name in sorted(present)]
        wanted += [(each, name) for each, name in self.before if each != arch and name in present]
        self._see_that_the_build_machine_has_it(wanted)
        for each, name in wanted:
            self.maker.package(name, platform_named(each))
        return self.maker.memory().units

    def _note_made(self, arch: str, name: str, number: int) -> None:
        before = self.before.get((arch, name))
        if before is not None and before[0][-1] != number:
            self.patch.move(before[0][-1], number)

    def _see_that_the_build_machine_has_it(self, wanted: Iterable[tuple[str, str]]) -> None:
        """A package that was never made for the build machine may lead to others, and in a circle."""
        present, native = self.edit.present, self.units.get(self.build_arch, {}).keys() | self.edit.present.keys()
        for arch, name in wanted:
            package = present[name]
            if not native >= {*package.native_dependencies} or (
                arch != self.target.arch and not native >= {*_needed(package)}
            ):
                raise ReachesFurtherError

    def _places_of_new(self, made: Units) -> dict[int, int]:
        """Which old node each new one comes before: that of the package which it belongs to."""
        count, shared = self.patch.count, self.nodes.shared
        order: dict[int, int] = {}
        for arch, units in made.items():
            for name, (numbers, _) in units.items():
                before = self.before.get((arch, name))
                for number in numbers:
                    if number >= count:
                        place = before[0][-1] if before is not None else count
                        order[number] = min(order.get(number, place), place)
                    elif before is None or number not in before[0]:
                        shared.add(number)
        return order

    def _dropped(self, made: Units, roots: Iterable[int]) -> set[int]:
        """The nodes that nobody needs any more."""
        patch, nodes = self.patch, self.nodes
        after = {number for units in made.values() for numbers, _ in units.values() for number in numbers}
        dropped = {number for numbers, _ in self.before.values() for number in numbers} - after
        needed = {each for _, needs, _ in patch.added for each in needs}
        lost = {each for number in dropped for each in patch.needs(number)} - dropped - needed
        if not (self.edit.system or self.edit.gone or lost or dropped & nodes.shared):
            return dropped
        live = patch.reached(roots)
        for (_arch, name), (numbers, _) in self.before.items():
            if name in self.edit.gone and numbers[-1] in live:
                raise ReachesFurtherError
        for units in (*self.units.values(), *made.values()):
            for name in [name for name, (numbers, _) in units.items() if numbers[-1] not in live]:
                del units[name]
        return {*range(patch.count + len(patch.added))} - live

    def _locals(self) -> dict[str, tuple[str, ...]]:
        edit = self.edit
        found: dict[str, tuple[str, ...]] = {}
        for file, names in edit.state.locals.items():
            others = tuple(name for name in names if name not in edit.present and name not in edit.gone)
            if others:
                found[file] = others
        for name, file in named_files(replace(edit.base, packages=edit.present)):
            found[file] = (*found.get(file, ()), name)
        return found


def _needed(package: Package) -> tuple[str, ...]:
    needed: tuple[str, ...] = ()
    for key in DEPENDENCY_KEYS:
        needed += getattr(package, key)
    return needed


def _with_others(rules: Mapping[str, Rule], packages: Collection[Package], base: Config) -> Mapping[str, Rule]:
    """All rules, if the packages may call others than ``rules``."""
    roles = {role for rule in rules.values() for role in rule.roles}
    named = {package.build_system for package in packages if package.build_system}
    wanted = {Role.DEFAULT} if any(not package.build_system for package in packages) else set()
    if any(package.prebuilt for package in packages):
        wanted.add(Role.PREBUILT)
    return rules if named <= rules.keys() and wanted <= roles else rules_of(base.rules)


def _placed(units: Mapping[str, Unit], place: Sequence[int]) -> dict[str, Unit]:
    return {name: (tuple([place[number] for number in numbers]), keys) for name, (numbers, keys) in units.items()}
