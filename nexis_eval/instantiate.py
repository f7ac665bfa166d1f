"""Configuration + lock + rules → derivation graph. Reads the user's patches and hooks; runs and fetches nothing.

Packages come first, in the order of their dependencies, each made by ``nexis_eval.packages``; the system parts and
images, which only combine packages, are added by ``nexis_eval.image.assemble``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from nexis_eval.build_rules.model import Rule
from nexis_eval.build_rules.rendering import Renderer
from nexis_eval.config.errors import each_error, raise_together
from nexis_eval.config.model import Config, KeyPath, Package
from nexis_eval.graph.dag import DerivationGraph, GraphBuilder
from nexis_eval.graph.derivation import Derivation, Union
from nexis_eval.graph.packed import Nodes
from nexis_eval.graph.target import SystemPart
from nexis_eval.lock.fits import LATEST
from nexis_eval.lock.model import Lock
from nexis_eval.packages.build import from_source
from nexis_eval.packages.debian import unpacked
from nexis_eval.packages.errors import PackageError, with_place
from nexis_eval.packages.making import Making, Memory
from nexis_eval.packages.ready_made import choice, prebuilt
from nexis_eval.platforms import Platform
from nexis_eval.system.context import MissingPackageError
from nexis_eval.system.view import Reads, SystemView
from nexis_eval.toolchain import Toolchain
from nexis_store.digest import DerivationId
from nexis_store.errors import NexisError


class Instantiator:
    """Turns one configuration into a graph; ``instantiate`` is the way in."""

    def __init__(
        self,
        config: Config,
        lock: Lock,
        rules: Mapping[str, Rule],
        toolchain: Callable[[], Toolchain],
        builder: GraphBuilder | None = None,
        memory: Memory | None = None,
        note: Callable[[str, str, int], None] | None = None,
    ) -> None:
        """``builder`` and ``memory`` are those of a graph that has packages already, if there is one. ``toolchain`` is
        asked for the tool sets when they are wanted, ``note`` is told of each package: architecture, name, node.
        """
        self._config = config
        self._toolchain = toolchain
        self._builder = builder or GraphBuilder(config.build.platform)
        self._note = note
        self._failed: list[NexisError] | None = None
        """What is wrong with packages, where all of it is wanted at once."""
        self.system: Mapping[SystemPart, int] = {}
        """The targets of the system, by number of node."""
        self.reads: Reads | None = None
        """What the parts of the system read of packages, when they are there."""
        self._making = Making(config, lock, rules, toolchain, self._builder, memory or Memory(), self._native)

    def graph(self) -> DerivationGraph:
        """The whole graph, with a target for each package and for each part of the system.

        Where the system lacks a package that all systems need, there are only the targets of the packages.
        """
        target, packages = self._making.target, self._config.packages
        self._failed = []
        for name in packages:
            self.package(name, target)
        ids, built = self._builder.nodes.ids, self._making.built[target.arch]
        view = SystemView.of(self._config)
        installed = {name: ids[built[name]] for name, package in packages.items() if package.install}
        try:
            self.system = system_targets(view, self._builder, self._toolchain(), installed)
        except NexisError as error:
            self._failed += [each for each in each_error(error) if not isinstance(each, MissingPackageError)]
        self.reads = view.reads()
        raise_together(self._failed)
        self._builder.packages = {name: ids[built[name]] for name in packages}
        return self._builder.finish(Renderer(self.rules()), self._config.place)

    def package(self, name: str, platform: Platform) -> int:
        """The node of a package for ``platform``; what it depends on is added first, by a loop."""
        built, packages = self._making.built[platform.arch], self._config.packages
        pending = [name]
        while pending:
            current = pending[-1]
            if current in built:
                pending.pop()
                continue
            package = packages[current]
            needed = package.dependencies
            if package.build_dependencies or package.runtime_dependencies:
                needed = (*needed, *package.build_dependencies, *package.runtime_dependencies)
            missing = [each for each in needed if each not in built]
            if missing:
                pending.extend(missing)
                continue
            pending.pop()
            try:
                built[current] = self._making.unit(package, platform, self._made)
            except NexisError as error:
                with_place(error, self._config, package)
                if self._failed is None:
                    raise
                # What depends on it may have mistakes of its own: all are to be told.
                self._failed.append(error)
                stand_in = self._builder.add(Derivation("failed", Union(), platform=platform.arch))
                built[current] = self._builder.nodes.index[stand_in]
                continue
            if self._note is not None:
                self._note(platform.arch, current, built[current])
        return built[name]

    def _native(self, name: str) -> int:
        return self.package(name, self._making.build_machine)

    def memory(self) -> Memory:
        """What can be given to the next one."""
        return self._making.memory()

    @property
    def toolsets(self) -> Mapping[str, int]:
        """The targets of tool sets, by number of node."""
        index = self._builder.nodes.index
        return {name: index[identity] for name, identity in self._builder.toolsets.items()}

    @property
    def nodes(self) -> Nodes:
        """The nodes of the graph."""
        return self._builder.nodes

    @property
    def paths(self) -> Mapping[int, KeyPath]:
        """The keys of the configuration that asked for nodes."""
        return self._builder.paths

    def rules(self) -> dict[str, Rule]:
        """The rules that were called, by digest."""
        return self._making.rules()

    def _made(self, package: Package, platform: Platform) -> int:
        making = self._making
        if package.version == LATEST:
            package = making.pins.resolved(package, platform)
        if package.prebuilt and self._config.build.prebuilt != "allowed":
            package = self._restricted(package)
        if package.debian:
            return unpacked(making, package, platform)
        if package.source and package.prebuilt and package.fallback_to_source:
            return choice(making, package, platform)
        if package.prebuilt:
            return prebuilt(making, package, platform)
        if package.source:
            return from_source(making, package, platform)
        raise PackageError(
            f"package '{package.name}' has no 'source', 'prebuilt' or 'debian'",
            hint='say where it comes from, for example: source = "https://…/{name}-{version}.tar.gz"',
            place=making.place(package),
        )

    def _restricted(self, package: Package) -> Package:
        """A package that could be had both ways, with the way that the configuration leaves."""
        if self._config.build.prebuilt == "required":
            return replace(package, fallback_to_source=False)
        if not package.source:
            raise PackageError(
                f"package '{package.name}' has no source, so there is nothing but its prebuilt archive",
                hint='add source = …, or allow it: leave out --no-prebuilt, and prebuilt = "never" in [build]',
                place=self._making.place(package, "prebuilt"),
            )
        return replace(package, prebuilt=(), smoke_test=None)


def system_targets(
    view: SystemView, builder: GraphBuilder, toolchain: Toolchain, installed: Mapping[str, DerivationId]
) -> dict[SystemPart, int]:
    """Add the parts of the system to a graph that has packages; return its targets by number of node."""
    # Imported on use: an edit of a package does without.
    from nexis_eval.image.assemble import add_system

    add_system(view, builder, toolchain, installed)
    index = builder.nodes.index
    return {part: index[identity] for part, identity in builder.parts.items()}


def instantiate(config: Config, lock: Lock, rules: Mapping[str, Rule], toolchain: Toolchain) -> DerivationGraph:
    """Turn a configuration into its derivation graph.

    Raises ``NotLockedError`` where ``nexis.lock`` lacks something, ``PackageError`` for a package that cannot be built
    as written, and ``OSError`` subclasses wrapped by their readers for files that vanished since they were checked.
    """
    return Instantiator(config, lock, rules, lambda: toolchain).graph()
