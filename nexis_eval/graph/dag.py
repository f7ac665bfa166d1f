"""The derivation graph: pure data, acyclic by construction, inputs before their users."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from nexis_eval.graph.builders import Call
from nexis_eval.graph.derivation import Derivation, Input, Use
from nexis_eval.graph.encoding import Head, ids_of, notes_of, recipe_of
from nexis_eval.graph.packed import Nodes, PackedDerivations, no_call
from nexis_eval.graph.target import SystemPart, Targets
from nexis_eval.keypath import KeyPath
from nexis_eval.platforms import DEFAULT_BUILD_ARCH
from nexis_store.digest import DerivationId
from nexis_store.errors import Place


def _lacks_nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class DerivationGraph:
    """All steps of a system. ``derivations`` is in topological order, inputs first."""

    derivations: Mapping[DerivationId, Derivation]
    targets: Targets
    """What a person can name."""
    origins: Mapping[DerivationId, Place] = field(default_factory=dict)
    """Where the configuration asked for it; no part of any identity."""
    lacking: Callable[[], None] = field(default=_lacks_nothing, compare=False, repr=False)
    """Raise ``MissingPackageError`` if a missing package keeps the system from having images."""

    def head(self, each: DerivationId) -> Head:
        """What a derivation is, without rendering what a rule makes of it."""
        if isinstance(self.derivations, PackedDerivations):
            return self.derivations.head(each)
        known = self.derivations[each]
        return Head(known.builder.kind, known.name, known.version, known.platform)

    def needs(self, each: DerivationId) -> Iterable[DerivationId]:
        """What has to be realised before a derivation, with repetitions."""
        if isinstance(self.derivations, PackedDerivations):
            return self.derivations.needs(each)
        return self.derivations[each].dependencies()

    def called(self, name: str) -> list[DerivationId]:
        """The derivations with this name, or this name-version."""
        if not isinstance(self.derivations, PackedDerivations):
            return [each for each, item in self.derivations.items() if name in (item.name, item.label)]
        found = []
        for each in self.derivations.nodes.ids:
            head = self.derivations.head(each)
            if name.startswith(head.name) and name in (head.name, f"{head.name}-{head.version}"):
                found.append(each)
        return found

    def reached(self, roots: Iterable[DerivationId]) -> set[DerivationId]:
        """``roots`` and everything that they need; no recipe is decoded for that."""
        wanted: set[DerivationId] = set()
        pending = list(roots)
        while pending:
            current = pending.pop()
            if current in wanted:
                continue
            wanted.add(current)
            pending.extend(self.needs(current))
        return wanted

    def in_order(self, roots: Iterable[DerivationId]) -> list[DerivationId]:
        """``roots`` and everything that they need, in topological order."""
        wanted = self.reached(roots)
        return [each for each in self.derivations if each in wanted]

    def closure(self, roots: Iterable[DerivationId]) -> dict[DerivationId, Derivation]:
        """The same with what each of them is."""
        return {each: self.derivations[each] for each in self.in_order(roots)}

    def dependents(self) -> dict[DerivationId, list[DerivationId]]:
        """For each derivation those that use it directly."""
        users: dict[DerivationId, list[DerivationId]] = {each: [] for each in self.derivations}
        for each in self.derivations:
            for needed in set(self.needs(each)):
                users[needed].append(each)
        return users


class LateOrigins(Mapping[DerivationId, Place]):
    """Where derivations come from, looked up when it is shown: by key paths of the configuration."""

    def __init__(
        self, nodes: Nodes, paths: Callable[[], Mapping[int, KeyPath]], place: Callable[[KeyPath], Place | None]
    ) -> None:
        self._nodes = nodes
        self._find_paths = paths
        self._place = place

    @cached_property
    def _paths(self) -> Mapping[int, KeyPath]:
        return self._find_paths()

    def __len__(self) -> int:
        return len(self._paths)

    def __iter__(self) -> Iterator[DerivationId]:
        return (self._nodes.ids[number] for number in self._paths)

    def place(self, path: KeyPath) -> Place | None:
        """Where a key of the configuration is set."""
        return self._place(path)

    def beside(self, each: DerivationId, keys: Mapping[str, str]) -> tuple[str, Place] | None:
        """The key that ``keys`` pairs with the one that asked for a derivation, and its place."""
        path = self._paths.get(self._nodes.index[each], ())
        key = keys.get(str(path[-1])) if path else None
        place = self._place((*path[:-1], key)) if key is not None else None
        return None if key is None or place is None else (key, place)

    def __getitem__(self, each: DerivationId) -> Place:
        place = self._place(self._paths[self._nodes.index[each]])
        if place is None:
            raise KeyError(each)
        return place


class GraphBuilder:
    """Collects derivations while the configuration is turned into a graph."""

    def __init__(self, build_platform: str = DEFAULT_BUILD_ARCH) -> None:
        """``build_platform`` is the architecture that all steps run on."""
        self.build_platform = build_platform
        self.nodes = Nodes()
        self.paths: dict[int, KeyPath] = {}
        self.packages: dict[str, DerivationId] = {}
        """The targets of packages."""
        self.parts: dict[SystemPart, DerivationId] = {}
        """The targets of the system."""
        self.toolsets: dict[str, DerivationId] = {}
        """The targets of tool sets."""

    def add(self, derivation: Derivation, path: KeyPath | None = None) -> DerivationId:
        """Add a derivation, all of whose inputs were added before; returns its id. Adding it twice is one node.

        ``path`` is the key of the configuration that asks for it.
        """
        derivation = self.placed(derivation)
        index = self.nodes.index
        try:
            needs = [index[each] for each in ids_of(derivation)]
        except KeyError as error:
            raise KeyError(f"input {error.args[0]!r} of {derivation.name} is not in the graph") from None
        return self.nodes.ids[self.add_recipe(recipe_of(derivation), needs, notes_of(derivation.builder), path)]

    def placed(self, derivation: Derivation) -> Derivation:
        """Return ``derivation`` as it runs on the build platform of this graph."""
        if derivation.build_platform == self.build_platform:
            return derivation
        return replace(derivation, build_platform=self.build_platform)

    def add_recipe(self, recipe: bytes, needs: Sequence[int], notes: bytes = b"", path: KeyPath | None = None) -> int:
        """The same for a recipe that is encoded already and names the nodes ``needs``; returns its number."""
        number = self.nodes.add(recipe, needs, notes)
        if path is not None:
            self.paths.setdefault(number, path)
        return number

    def __getitem__(self, identity: DerivationId) -> Derivation:
        return PackedDerivations(self.nodes)[identity]

    def finish(
        self, call: Call = no_call, place: Callable[[KeyPath], Place | None] = lambda _: None
    ) -> DerivationGraph:
        """The finished graph. ``call`` renders what rules make, ``place`` says where a key of the configuration is."""
        targets = Targets({**self.packages}, {**self.parts}, {**self.toolsets})
        return packed_graph(self.nodes, targets, lambda: self.paths, call, place)


def packed_graph(
    nodes: Nodes,
    targets: Targets,
    paths: Callable[[], Mapping[int, KeyPath]],
    call: Call,
    place: Callable[[KeyPath], Place | None],
    lacking: Callable[[], None] = _lacks_nothing,
) -> DerivationGraph:
    """A graph out of its parts; ``paths`` gives the keys of the configuration that asked for nodes."""
    first = [nodes.index[identity] for identity in targets.by_name().values()]
    return DerivationGraph(PackedDerivations(nodes, first, call), targets, LateOrigins(nodes, paths, place), lacking)


def layers(identities: Iterable[DerivationId], at: str = "/", subdir: str = "") -> Iterator[Input]:
    """Inputs that stack ``identities`` as layers at ``at``."""
    for identity in identities:
        yield Input(identity, Use.LAYER, at, subdir=subdir)
