"""Re-evaluates what an edit can have changed, and nothing else.

The packages of the files that changed are turned into recipes again. Where a recipe differs from what it was, the
identities of everything that depends on it are made anew; all other bytes of the graph stay. This covers edits of
packages, which is what people do all day. Whatever could reach further (another list of packages, a package that
several files have a say in, another section, an include, a mistake) gives ``None``, and everything is evaluated.
The result is that of a full evaluation, to the byte; ``tests/eval/test_incremental.py`` compares them.
"""

from __future__ import annotations

import marshal
import pickle
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from blake3 import blake3

from nexis_eval.config import toml
from nexis_eval.config.check import check_each_package, local_paths
from nexis_eval.config.errors import ConfigError
from nexis_eval.config.model import Config, KeyPath, Package, nowhere
from nexis_eval.config.origin import Entry, Origins, Problem, Source, shown_path
from nexis_eval.config.parts import Parts
from nexis_eval.graph import GraphBuilder
from nexis_eval.instantiate import Instantiator
from nexis_eval.lock.model import Lock
from nexis_eval.packages.making import Memory
from nexis_eval.packed import Node, Nodes
from nexis_eval.platforms import platform_named
from nexis_eval.rules import Rule
from nexis_eval.toolchain import Toolchain
from nexis_store.digest import DerivationId
from nexis_store.errors import NexisError

FACTS = ("install", "debian", "runtime_dirs", "attributes", "context_file")
"""What the parts of a system read of packages: an edit of these reaches further than the package."""

Said = tuple[int, tuple[object, ...], bytes, bytes]
"""Of a file: its strength, its directives, and digests of its other sections and of the facts about its packages."""


_NO_TOOLCHAIN = Toolchain({}, {})
"""A tool set that the graph does not have reaches further than an edit of packages."""


class _ReachesFurtherError(Exception):
    """The edit is not one that can be dealt with here."""


@dataclass(frozen=True, slots=True)
class State:
    """What has to be known of an evaluation to take an edit into it."""

    base: bytes
    """The configuration without its packages."""
    files: Mapping[str, Said]
    shared: frozenset[str]
    """Packages that more than one table has a say in."""
    memory: Memory

    def encode(self) -> bytes:
        """As bytes, for this machine."""
        memory = self.memory
        remembered = (memory.units, memory.rule_toolsets, memory.toolset_nodes)
        return marshal.dumps((self.base, dict(self.files), self.shared, remembered))

    @classmethod
    def decode(cls, data: bytes) -> State:
        """The inverse."""
        base, files, shared, remembered = marshal.loads(data)
        return cls(base, files, shared, Memory(*remembered))


@dataclass(frozen=True, slots=True)
class Update:
    """What became of a graph."""

    nodes: Nodes
    rules: Mapping[str, Rule]
    """The rules that were called anew, by digest."""
    files: tuple[Path, ...]
    """The user's files that the packages name."""


def _digest(text: str) -> bytes:
    return blake3(text.encode(errors="surrogateescape")).digest()


def _said(rank: int, directives: tuple[object, ...], entries: Iterable[Entry], kernel: str) -> Said:
    facts = []
    rest = []
    for path, strength, _source, at, fields in entries:
        if path[0] == "packages":
            name = str(path[1])
            # The kernel may be named with its version.
            version = fields.get("version") if kernel.startswith(name) else None
            facts.append((name, strength, version, *map(fields.get, FACTS)))
        else:
            rest.append((path, strength, at, fields))
    return rank, directives, _digest(repr(rest)), _digest(repr(facts))


def state_of(config: Config, origins: Origins, memory: Memory) -> State:
    """The state of a full evaluation."""
    by_source: dict[Source, list[Entry]] = {source: [] for source in origins.sources}
    shared = []
    for path, entries in origins.entries.items():
        if len(entries) > 1 and path[0] == "packages":
            shared.append(str(path[1]))
        for entry in entries:
            by_source[entry.source].append(entry)
    files = {
        str(source.path): _said(source.rank, source.directives, entries, config.system.kernel)
        for source, entries in by_source.items()
        if source.text is None
    }
    if any(package.smoke_test for package in config.packages.values()):
        # A smoke test sees all that its package needs at run time, so an edit of any of that reaches further.
        shared = list(config.packages)
    base = pickle.dumps(replace(config, packages={}, place=nowhere))
    return State(base, files, frozenset(shared), memory)


class _Patch(GraphBuilder):
    """Takes the place of a graph's builder while packages that it has already are made again."""

    def __init__(self, nodes: Nodes, targets: Mapping[str, DerivationId], paths: dict[int, KeyPath]) -> None:
        super().__init__()
        self.nodes, self.paths = nodes, paths
        self.targets = dict(targets)
        self.new: dict[int, Node] = {}
        self._slots: list[int] = []

    def begin(self, slots: Sequence[int]) -> None:
        """What comes now are the nodes ``slots``, in this order."""
        self._slots = [*reversed(slots)]

    def end(self) -> None:
        """It was all of them."""
        if self._slots:
            raise _ReachesFurtherError

    def add_recipe(self, recipe: bytes, needs: Sequence[int], notes: bytes = b"", path: KeyPath | None = None) -> int:
        """Compare with what was there; returns the number of the node, as it was."""
        if not self._slots:
            raise _ReachesFurtherError
        slot, nodes = self._slots.pop(), self.nodes
        if recipe == nodes.recipe(slot) and [*needs] == [*nodes.needs(slot)] and notes == nodes.notes(slot):
            return slot
        if slot in nodes.shared or any(number >= slot for number in needs) or self.paths.get(slot) != path:
            raise _ReachesFurtherError
        self.new[slot] = (recipe, needs, notes)
        return slot

    def target(self, name: str, identity: DerivationId) -> None:
        """A tool set that the graph does not have yet."""
        raise _ReachesFurtherError


def _read(file: str, said: Said, config: Config, profiles: Sequence[str], shared: frozenset[str]) -> list[Package]:
    """The packages of a file that changed, if nothing else in it did."""
    path = Path(file)
    source = Source(path, shown_path(path))
    parts = Parts(config.arch, frozenset(profiles))
    parts.read(source, toml.parse(toml.read_text(path, source.shown), source.shown), said[0])
    if parts.problems or _said(said[0], parts.directives(), parts.entries, config.system.kernel) != said:
        raise _ReachesFurtherError
    fields = [entry.fields for entry in parts.entries if entry.path[0] == "packages"]
    if any(each["name"] in shared for each in fields):
        raise _ReachesFurtherError
    return [Package(**each) for each in fields]  # type: ignore[arg-type]


def update(
    state: State,
    changed: Sequence[str],
    profiles: Sequence[str],
    lock: Lock,
    rules: Mapping[str, Rule],
    nodes: Nodes,
    targets: Mapping[str, DerivationId],
    paths: dict[int, KeyPath],
) -> Update | None:
    """Take an edit of the files ``changed`` into a graph; ``None`` if everything has to be evaluated.

    ``rules`` are those that its packages call, by name; ``nodes``, ``targets`` and ``paths`` are those of the graph.
    """
    if not all(file in state.files for file in changed):
        return None
    base = pickle.loads(state.base)
    try:
        packages = {
            package.name: package
            for file in changed
            for package in _read(file, state.files[file], base, profiles, state.shared)
        }
        config = replace(base, packages=packages)
        problems: list[Problem] = []
        check_each_package(config, Origins([Source(base.file, str(base.file))]), problems)
        if problems:
            return None
        patch = _Patch(nodes, targets, paths)
        again = Instantiator(config, lock, rules, _NO_TOOLCHAIN, patch, state.memory)
        for arch, units in state.memory.units.items():
            for name in packages:
                slots = units.get(name)
                if slots is not None:
                    patch.begin(slots)
                    again.again(name, platform_named(arch))
                    patch.end()
        made = nodes.replaced(patch.new)
    except (_ReachesFurtherError, ConfigError, NexisError, OSError, KeyError):
        # A mistake is reported by the full evaluation, which knows its place.
        return None
    if made is None:
        return None
    return Update(made, again.rules(), tuple(local.path for local, _, _ in local_paths(config)))
