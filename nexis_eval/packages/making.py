"""What all ways of making a package share: the graph that grows, what is pinned, rules and tool sets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from nexis_eval.build_rules.calls import Caller
from nexis_eval.build_rules.model import Role, Rule
from nexis_eval.build_rules.reading import rule_for
from nexis_eval.config.kernel import is_kernel
from nexis_eval.config.model import Config, KeyPath, LocalPath, Package
from nexis_eval.graph.dag import GraphBuilder, layers
from nexis_eval.graph.derivation import Choice, Derivation, Local, Union
from nexis_eval.graph.encoding import ids_of, notes_of, recipe_of
from nexis_eval.lock.model import Lock
from nexis_eval.packages.errors import PackageError
from nexis_eval.packages.pins import Pins
from nexis_eval.platforms import Platform, platform_named
from nexis_eval.toolchain import Toolchain, toolsets
from nexis_store.errors import Place
from nexis_store.suggest import nearest

Unit = tuple[tuple[int, ...], tuple[str, ...]]
"""The nodes that a package consists of in the order in which they were made, and which of its keys asked for each. The
last is the package itself."""
Units = dict[str, dict[str, Unit]]
"""By architecture and name of package."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What was worked out while a graph was made, and is not in it."""

    units: Units = field(default_factory=dict)
    rule_toolsets: dict[str, dict[tuple[str, str], tuple[str, ...]]] = field(default_factory=dict)
    """``Caller.settled`` by name of rule."""
    toolset_nodes: dict[tuple[str, ...], tuple[int, ...]] = field(default_factory=dict)
    """The nodes of all tool sets that a list of names stands for."""
    tried: tuple[str, ...] = ()
    """Packages with a smoke test, which sees all that they need at run time."""
    runtime: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Of these packages, and of all that they need at run time: what each of them needs."""


class Making:
    """Packages being made for one target. ``native`` gives the node of a package for the build machine."""

    def __init__(
        self,
        config: Config,
        lock: Lock,
        rules: Mapping[str, Rule],
        toolchain: Callable[[], Toolchain],
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
        self.build_machine = platform_named(config.build.platform)
        archs = (self.target.arch, self.build_machine.arch)
        self.units: Units = {arch: {} for arch in archs}
        self.built: dict[str, dict[str, int]] = {
            arch: {name: numbers[-1] for name, (numbers, _) in memory.units.get(arch, {}).items()} for arch in archs
        }
        """The nodes of packages by architecture and name."""
        self._rules = rules
        self._by_role: dict[Role, Rule] = {}
        self._memory = memory
        self._made: list[int] = []
        self._keys: list[str] = []
        self._known_keys: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._tried = dict.fromkeys(memory.tried)
        self._runtime = dict(memory.runtime)
        self._callers: dict[str, Caller] = {}
        self._known_toolsets = dict(memory.toolset_nodes)

    def unit(self, package: Package, platform: Platform, make: Callable[[Package, Platform], int]) -> int:
        """Make a package by ``make``, and note which nodes it consists of; returns its own."""
        around = self._made, self._keys
        self._made, self._keys = [], []
        result = make(package, platform)
        keys = tuple(self._keys)
        # One tuple for most packages: what is remembered of them is half as long.
        self.units[platform.arch][package.name] = tuple(self._made), self._known_keys.setdefault(keys, keys)
        self._made, self._keys = around
        return result

    def step(self, derivation: Derivation, key: str) -> int:
        """Add a step that a key of the package asks for; return its node."""
        derivation = self.builder.placed(derivation)
        index = self.builder.nodes.index
        needs = [index[each] for each in ids_of(derivation)]
        number = self.builder.add_recipe(recipe_of(derivation), needs, notes_of(derivation.builder))
        self._made.append(number)
        self._keys.append(key)
        return number

    def local(self, path: LocalPath, name: str, key: str) -> int:
        """A file of the user's as an input, addressed by its content."""
        # Imported on use, as few edits need it.
        from nexis_store.hashing import tree_of_path

        return self.step(
            Derivation(name, Local(str(path.path), tree_of_path(path.path).digest), platform=self.build_machine.arch),
            key,
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
            NAME,
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
        return self.config.place(("packages", package.name, key))

    def rule(self, package: Package, name: str) -> Rule:
        """The rule called ``name``; raises ``PackageError``."""
        rule = self._rules.get(name)
        if rule is None:
            near = nearest(name, [each for each, rule in self._rules.items() if not rule.abstract])
            lists = "'nexis-eval rules' lists those there are"
            raise PackageError(
                f"no rule is called '{name}'",
                hint=f"did you mean '{near}'? {lists}" if near else lists,
                place=self.place(package, "build_system"),
            )
        return rule

    def rule_for(self, role: Role) -> Rule:
        """The rule that has a role."""
        rule = self._by_role.get(role)
        if rule is None:
            rule = self._by_role[role] = rule_for(role, self._rules)
        return rule

    def source_rule(self, package: Package) -> Rule:
        """The rule that builds the source of a package; raises ``PackageError``."""
        if package.build_system:
            return self.rule(package, package.build_system)
        return self.rule_for(Role.KERNEL if is_kernel(package, self.config) else Role.DEFAULT)

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
            sets = toolsets(self.builder, self.toolchain(), names)
            known = self._known_toolsets[names] = tuple(index[each] for each in sets)
        return known

    def run_time_closure(self, package: Package) -> list[str]:
        """The names of all that a package with a smoke test needs at run time."""
        self._tried[package.name] = None
        self._runtime[package.name] = runtime_names(package)
        needs: dict[str, None] = {}
        pending = [package.name]
        while pending:
            each = pending.pop()
            names = self._runtime.get(each)
            if names is None:
                names = self._runtime[each] = runtime_names(self.config.packages[each])
            for name in names:
                if name not in needs:
                    needs[name] = None
                    pending.append(name)
        return [*needs]

    def memory(self) -> Memory:
        """What can be given to the next one."""
        settled = {name: caller.settled for name, caller in self._callers.items()}
        return Memory(self.units, settled, self._known_toolsets, tuple(self._tried), self._runtime)


NAME = "name"
"""The key that asks for a package itself."""


def runtime_names(package: Package) -> tuple[str, ...]:
    """What a package needs when it is used."""
    return (*package.dependencies, *package.runtime_dependencies)


def origins_of(units: Units, others: Mapping[int, KeyPath]) -> dict[int, KeyPath]:
    """Which key of the configuration asks for each node: of a package, or as ``others`` says.

    Where several packages ask for one node it is the first in alphabetical order, so that it does not matter in which
    order they were made.
    """
    found = dict(others)
    taken: set[int] = set()
    for each in units.values():
        for name, (numbers, keys) in each.items():
            for number, key in zip(numbers, keys, strict=True):
                path = ("packages", name, key)
                if number not in taken or path < found[number]:
                    found[number] = path
                    taken.add(number)
    return found
