"""What all ways of making a package share: the graph that grows, what is pinned, rules and tool sets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from nexis_eval.config.model import Config, KeyPath, LocalPath, Package
from nexis_eval.derivation import Choice, Derivation, Local, Union
from nexis_eval.derivation_encoding import ids_of, notes_of, recipe_of
from nexis_eval.graph import GraphBuilder, layers
from nexis_eval.lock.model import Lock
from nexis_eval.packages.errors import PackageError
from nexis_eval.packages.pins import Pins
from nexis_eval.platforms import Platform, platform_named
from nexis_eval.rules import Caller, Rule
from nexis_eval.toolchain import Toolchain, toolsets
from nexis_store.errors import Place

BUILD_ARCH = "x86_64"

Units = dict[str, dict[str, tuple[int, ...]]]
"""By architecture and name of package, the nodes that it consists of in the order in which they were made. The last is
the package itself."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What was worked out while a graph was made, and is not in it."""

    units: Units = field(default_factory=dict)
    rule_toolsets: dict[str, dict[tuple[str, str], tuple[str, ...]]] = field(default_factory=dict)
    """``Caller.settled`` by name of rule."""
    toolset_nodes: dict[tuple[str, ...], tuple[int, ...]] = field(default_factory=dict)
    """The nodes of all tool sets that a list of names stands for."""


class Making:
    """Packages being made for one target. ``native`` gives the node of a package for the build machine."""

    def __init__(
        self,
        config: Config,
        lock: Lock,
        rules: Mapping[str, Rule],
        toolchain: Toolchain,
        builder: GraphBuilder,
        memory: Memory,
        native: Callable[[str], int],
    ) -> None:
        """``memory`` is that of the graph which ``builder`` has already."""
        self.config = config
        self.pins = Pins(config, lock)
        self.toolchain = toolchain
        self.builder = builder
        self.native = native
        self.target = platform_named(config.arch)
        self.build_machine = platform_named(BUILD_ARCH)
        archs = (self.target.arch, BUILD_ARCH)
        self.units: Units = {arch: {} for arch in archs}
        self.built: dict[str, dict[str, int]] = {
            arch: {name: numbers[-1] for name, numbers in memory.units.get(arch, {}).items()} for arch in archs
        }
        """The nodes of packages by architecture and name."""
        self._rules = rules
        self._memory = memory
        self._made: list[int] = []
        self._callers: dict[str, Caller] = {}
        self._known_toolsets = dict(memory.toolset_nodes)

    def unit(self, package: Package, platform: Platform, make: Callable[[Package, Platform], int]) -> int:
        """Make a package by ``make``, and note which nodes it consists of; returns its own."""
        around, self._made = self._made, []
        result = make(package, platform)
        self.units[platform.arch][package.name] = tuple(self._made)
        self._made = around
        return result

    def recipe(self, recipe: bytes, needs: Sequence[int], notes: bytes, at: KeyPath) -> int:
        """Add a step that is encoded already; returns its node."""
        number = self.builder.add_recipe(recipe, needs, notes, at)
        self._made.append(number)
        return number

    def step(self, derivation: Derivation, at: KeyPath) -> int:
        """Add a step."""
        index = self.builder.nodes.index
        return self.recipe(
            recipe_of(derivation), [index[each] for each in ids_of(derivation)], notes_of(derivation), at
        )

    def local(self, path: LocalPath, name: str, at: KeyPath) -> int:
        """A file of the user's as an input, addressed by its content."""
        # Imported on use, as few edits need it.
        from nexis_store.hashing import tree_of_path

        return self.step(
            Derivation(name, Local(str(path.path), tree_of_path(path.path).digest), platform=BUILD_ARCH), at
        )

    def combined(self, package: Package, platform: Platform, builder: Union | Choice, parts: Iterable[int]) -> int:
        """A package that is put together from other steps."""
        ids = self.builder.nodes.ids
        runtime, propagates = self.runtime(package, platform)
        return self.step(
            Derivation(
                package.name,
                builder,
                platform=platform.arch,
                version=package.version,
                inputs=tuple(layers(ids[each] for each in parts)),
                outputs=package.all_outputs if isinstance(builder, Choice) else ("out",),
                runtime=tuple(ids[each] for each in runtime),
                propagates=tuple(ids[runtime[each]] for each in propagates),
            ),
            path_of(package),
        )

    def runtime(self, package: Package, platform: Platform) -> tuple[list[int], list[int]]:
        """The nodes that a package needs when it is used, and the places of those among them that it propagates."""
        built = self.built[platform.arch]
        libraries = dict.fromkeys(package.dependencies)
        names = libraries
        if package.runtime_dependencies:
            names = libraries | dict.fromkeys(package.runtime_dependencies)
        return [built[name] for name in names], list(range(len(libraries)))

    def place(self, package: Package, key: str = "name") -> Place | None:
        """Where a key of a package is set."""
        return self.config.place(path_of(package, key))

    def rule(self, package: Package, name: str) -> Rule:
        """The rule called ``name``; raises ``PackageError``."""
        rule = self._rules.get(name)
        if rule is None:
            from difflib import get_close_matches

            near = get_close_matches(name, self._rules, n=1)
            known = ", ".join(sorted(self._rules))
            raise PackageError(
                f"no rule is called '{name}'",
                hint=f"did you mean '{near[0]}'? Known rules: {known}" if near else f"known rules: {known}",
                place=self.place(package, "build_system"),
            )
        return rule

    def caller(self, rule: Rule) -> Caller:
        """What makes the calls of a rule."""
        known = self._callers.get(rule.name)
        if known is None:
            known = self._callers[rule.name] = Caller(rule, self._memory.rule_toolsets.get(rule.name))
        return known

    def rules(self) -> dict[str, Rule]:
        """The rules that were called, by digest."""
        return {caller.digest: caller.rule for caller in self._callers.values()}

    def toolsets(self, names: tuple[str, ...]) -> tuple[int, ...]:
        """The nodes of tool sets and all they extend."""
        known = self._known_toolsets.get(names)
        if known is None:
            index = self.builder.nodes.index
            sets = toolsets(self.builder, self.toolchain, names, BUILD_ARCH)
            known = self._known_toolsets[names] = tuple(index[each] for each in sets)
        return known

    def memory(self) -> Memory:
        """What can be given to the next one."""
        settled = {name: caller.settled for name, caller in self._callers.items()}
        return Memory(self.units, settled, self._known_toolsets)


def path_of(package: Package, key: str = "name") -> KeyPath:
    """The key path of a package's key."""
    return ("packages", package.name, key)
