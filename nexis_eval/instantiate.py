"""Configuration + lock + rules → derivation graph. Reads the user's patches and hooks; runs and fetches nothing.

Packages come first, in the order of their dependencies; the system parts and images, which only combine packages, are
added by ``nexis_eval.image.assemble``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from nexis_eval.config.hashes import declared_hash
from nexis_eval.config.model import Config, KeyPath, LocalPath, Package
from nexis_eval.config.values import is_placeholder
from nexis_eval.derivation import (
    Attribute,
    Choice,
    Derivation,
    Fetch,
    FetchGit,
    Input,
    Local,
    Script,
    Union,
    Unpack,
    Use,
)
from nexis_eval.derivation_encoding import call_recipe, fetch_notes, fetch_recipe, ids_of, notes_of, recipe_of
from nexis_eval.graph import DerivationGraph, GraphBuilder, layers
from nexis_eval.lock.fits import LATEST, debian_request, source_fits
from nexis_eval.lock.model import Lock, LockedSource
from nexis_eval.packed import Nodes
from nexis_eval.platforms import Platform, platform_named
from nexis_eval.rules import BuildContext, Caller, Renderer, Rule, check_own_phases
from nexis_eval.smoke import smoke_test
from nexis_eval.templates import expand
from nexis_eval.toolchain import Toolchain, toolsets
from nexis_store.errors import NexisError, Place

BUILD_ARCH = "x86_64"
_SPECIAL = frozenset("?#%\\\t\r\n[]@")
"""What a URL may have that its file name is not plainly the last component of its path."""

DOCUMENTATION = ("usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/lintian", "usr/share/bug")


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


class NotLockedError(NexisError):
    """A version or a hash is needed that neither the configuration nor the lock has."""

    code = "E0401"
    exit_code = 2


class PackageError(NexisError):
    """A package's table cannot be turned into a build."""

    code = "E0402"
    exit_code = 2


@dataclass(frozen=True, slots=True)
class Source:
    """Where a build finds its source: the derivation and the path inside the sandbox."""

    node: int
    """The number of the derivation's node."""
    path: str


class Instantiator:
    """Turns one configuration into a graph; ``instantiate`` is the way in."""

    def __init__(
        self,
        config: Config,
        lock: Lock,
        rules: Mapping[str, Rule],
        toolchain: Toolchain,
        builder: GraphBuilder | None = None,
        memory: Memory | None = None,
    ) -> None:
        """``builder`` and ``memory`` are those of a graph that the packages of ``config`` are part of already."""
        self._memory = memory or Memory()
        self._config = config
        self._lock = lock
        self._rules = rules
        self._toolchain = toolchain
        self._builder = builder or GraphBuilder()
        self._target = platform_named(config.arch)
        self._native = platform_named(BUILD_ARCH)
        self._built: dict[str, dict[str, int]] = {self._target.arch: {}, BUILD_ARCH: {}}
        """The nodes of packages by architecture and name."""
        self.units: Units = {arch: {} for arch in self._built}
        for arch, known in self._memory.units.items():
            self._built[arch] = {name: numbers[-1] for name, numbers in known.items()}
        self._made: list[int] = []
        self._callers: dict[str, Caller] = {}
        self._known_toolsets = dict(self._memory.toolset_nodes)
        triplet = f"/usr/{self._target.triplet}"
        self._library_inputs = {
            self._target.arch: (Use.CLOSURE, triplet, "out", "usr"),
            BUILD_ARCH: (Use.CLOSURE, "/", "out", ""),
        }

    def graph(self) -> DerivationGraph:
        """The whole graph, with a target for each package and for each part of the system."""
        for name in self._config.packages:
            self.package(name, self._target)
        ids, built = self._builder.nodes.ids, self._built[self._target.arch]
        for name in self._config.packages:
            self._builder.target(name, ids[built[name]])
        installed = {name: ids[built[name]] for name, package in self._config.packages.items() if package.install}
        # Imported on use: an edit of a package does without.
        from nexis_eval.image.assemble import add_system

        add_system(self._config, self._builder, self._toolchain, installed)
        return self._builder.finish(Renderer(self.rules()), self._config.place)

    def package(self, name: str, platform: Platform) -> int:
        """The node of a package for ``platform``; what it depends on is added first, by a loop."""
        built, packages = self._built[platform.arch], self._config.packages
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
            built[current] = self._unit(package, platform)
        return built[name]

    def _unit(self, package: Package, platform: Platform) -> int:
        around, self._made = self._made, []
        result = self._add(package, platform)
        self.units[platform.arch][package.name] = tuple(self._made)
        self._made = around
        return result

    def memory(self) -> Memory:
        """What can be given to the next one."""
        settled = {name: caller.settled for name, caller in self._callers.items()}
        return Memory(self.units, settled, self._known_toolsets)

    @property
    def nodes(self) -> Nodes:
        """The nodes of the graph."""
        return self._builder.nodes

    @property
    def paths(self) -> Mapping[int, KeyPath]:
        """The keys of the configuration that asked for nodes."""
        return self._builder.paths

    def again(self, name: str, platform: Platform) -> None:
        """Make a package that the graph has already once more."""
        self._add(self._config.packages[name], platform)

    def rules(self) -> dict[str, Rule]:
        """The rules that were called, by digest."""
        return {caller.digest: caller.rule for caller in self._callers.values()}

    def _recipe(self, recipe: bytes, needs: Sequence[int], notes: bytes, at: KeyPath) -> int:
        number = self._builder.add_recipe(recipe, needs, notes, at)
        self._made.append(number)
        return number

    def _restricted(self, package: Package) -> Package:
        """A package that could be had both ways, with the way that the configuration leaves."""
        if self._config.prebuilt == "required":
            return replace(package, fallback_to_source=False)
        if not package.source:
            raise PackageError(
                f"package '{package.name}' has no source, so there is nothing but its prebuilt archive",
                hint='add source = …, or allow it: leave out --no-prebuilt, and prebuilt = "never" in [build]',
                place=self._place(package, "prebuilt"),
            )
        return replace(package, prebuilt=(), smoke_test=None)

    def _place(self, package: Package, key: str = "name") -> Place | None:
        return self._config.place(_path(package, key))

    def _add(self, package: Package, platform: Platform) -> int:
        if package.version == LATEST:
            package = self._resolved(package, platform)
        if package.prebuilt and self._config.prebuilt != "allowed":
            package = self._restricted(package)
        if package.debian:
            return self._debian(package, platform)
        if package.source and package.prebuilt and package.fallback_to_source:
            return self._choice(package, platform)
        if package.prebuilt:
            return self._prebuilt(package, platform)
        if package.source:
            return self._from_source(package, platform)
        raise PackageError(
            f"package '{package.name}' has no 'source', 'prebuilt' or 'debian'",
            hint='say where it comes from, for example: source = "https://…/{name}-{version}.tar.gz"',
            place=self._place(package),
        )

    def _runtime(self, package: Package, platform: Platform) -> tuple[list[int], list[int]]:
        """The nodes that a package needs when it is used, and the places of those among them that it propagates."""
        built = self._built[platform.arch]
        libraries = dict.fromkeys(package.dependencies)
        names = libraries
        if package.runtime_dependencies:
            names = libraries | dict.fromkeys(package.runtime_dependencies)
        return [built[name] for name in names], list(range(len(libraries)))

    def _step(self, derivation: Derivation, at: KeyPath) -> int:
        index = self._builder.nodes.index
        return self._recipe(
            recipe_of(derivation), [index[each] for each in ids_of(derivation)], notes_of(derivation), at
        )

    def _combined(self, package: Package, platform: Platform, builder: Union | Choice, parts: Iterable[int]) -> int:
        """A package that is put together from other steps."""
        ids = self._builder.nodes.ids
        runtime, propagates = self._runtime(package, platform)
        return self._step(
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
            _path(package),
        )

    # Debian packages

    def _debian(self, package: Package, platform: Platform) -> int:
        debs = self._lock.debs(package.name, platform.arch, debian_request(package, platform))
        if debs is None:
            raise NotLockedError(
                f"the Debian packages of '{package.name}' are not in the lock for {platform.arch}",
                hint="run 'nexis-eval lock' to pin their versions and hashes",
                place=self._place(package, "debian"),
            )
        parts = []
        ids = self._builder.nodes.ids
        for deb in debs:
            archive = self._step(
                Derivation(
                    f"{deb.name}.deb",
                    Fetch(deb.urls, "sha256", deb.sha256, deb.urls[0].rsplit("/", 1)[1], deb.size),
                    platform=platform.arch,
                    version=deb.version,
                ),
                _path(package, "debian"),
            )
            unpacked = Derivation(
                deb.name,
                Unpack("deb", exclude=DOCUMENTATION),
                platform=platform.arch,
                version=deb.version,
                inputs=(Input(ids[archive], Use.BIND, "/in/archive"),),
            )
            parts.append(self._step(unpacked, _path(package, "debian")))
        return self._combined(package, platform, Union(), parts)

    # Sources

    def _locked(self, package: Package, field: str, platform: Platform) -> LockedSource | None:
        """What pins a field, if it was made for the version and URLs that the configuration names now."""
        locked = self._lock.source(package.name, field, platform.arch)
        return locked if locked is not None and source_fits(package, field, platform, locked) else None

    def _resolved(self, package: Package, platform: Platform) -> Package:
        """The package with the version that ``latest`` was locked to."""
        for key in ("source", "prebuilt"):
            locked = self._locked(package, key, platform)
            if locked is not None and locked.version:
                return replace(package, version=locked.version)
        return package

    def _source(self, package: Package, field: str, platform: Platform) -> Source:
        """The fixed-output derivation of ``source`` or ``prebuilt``. A hash in the configuration wins over the lock."""
        locked = self._locked(package, field, platform)
        templates = package.source if field == "source" else package.prebuilt
        declared = package.hash if field == "source" else package.prebuilt_hash
        name = f"{package.name}-{field}"
        arch = platform.arch if field == "prebuilt" else BUILD_ARCH
        version = (locked.version if locked else "") or package.version
        if locked is not None and locked.commit:
            assert locked.tree is not None
            git = FetchGit(locked.urls[0], locked.commit, locked.tree, locked.submodules)
            return Source(self._step(Derivation(name, git, arch, version=version), _path(package, field)), "/in/source")
        fetch = self._download(package, field, platform, locked, templates, declared)
        recipe, notes = fetch_recipe(name, version, arch, fetch), fetch_notes(fetch)
        return Source(self._recipe(recipe, (), notes, _path(package, field)), f"/in/source/{fetch.filename}")

    def _download(
        self,
        package: Package,
        field: str,
        platform: Platform,
        locked: LockedSource | None,
        templates: tuple[str, ...],
        declared: str | None,
    ) -> Fetch:
        if locked is not None:
            algorithm, digest = locked.algorithm, locked.hash
            if declared is not None and not is_placeholder(declared):
                algorithm, digest = declared_hash(self._config, declared, self._hash_path(package, field))
                self._agree(package, field, locked, algorithm, digest)
            return Fetch(locked.urls, algorithm, digest, _filename(locked.urls[0]), locked.size, locked.tree)
        if declared is not None and package.version != LATEST:
            algorithm, digest = declared_hash(self._config, declared, self._hash_path(package, field))
            urls = tuple([self._url(each, package, platform) for each in templates])
            return Fetch(urls, algorithm, digest, _filename(urls[0]))
        raise NotLockedError(
            f"nothing pins the {field} of '{package.name}': no 'hash' in its table, no entry in the lock",
            hint="run 'nexis-eval lock' to download and pin it",
            place=self._place(package, field),
        )

    def _url(self, template: str, package: Package, platform: Platform) -> str:
        # Most templates use nothing else, and working out the other fields costs more than all the rest of a download.
        url = template.replace("{name}", package.name).replace("{version}", package.version)
        return expand(template, name=package.name, version=package.version, platform=platform) if "{" in url else url

    def _hash_path(self, package: Package, field: str) -> tuple[str, ...]:
        return ("packages", package.name, "hash" if field == "source" else "prebuilt_hash")

    def _agree(self, package: Package, field: str, locked: LockedSource, algorithm: str, digest: str) -> None:
        if locked.algorithm != algorithm or locked.hash == digest:
            return
        raise PackageError(
            f"the hash of '{package.name}' here ({algorithm}:{digest[:12]}…) is not the one in nexis.lock "
            f"({locked.algorithm}:{locked.hash[:12]}…)",
            hint=f"if the new one is meant, run 'nexis-eval lock --update {package.name}'",
            place=self._place(package, "hash" if field == "source" else "prebuilt_hash"),
        )

    def _local(self, path: LocalPath, name: str, at: KeyPath) -> int:
        """A file of the user's as an input, addressed by its content."""
        # Imported on use, as few edits need it.
        from nexis_store.hashing import tree_of_path

        return self._step(
            Derivation(name, Local(str(path.path), tree_of_path(path.path).digest), platform=BUILD_ARCH), at
        )

    # Builds

    def _rule(self, package: Package, default: str) -> Rule:
        name = package.build_system or default
        rule = self._rules.get(name)
        if rule is None:
            from difflib import get_close_matches

            near = get_close_matches(name, self._rules, n=1)
            known = ", ".join(sorted(self._rules))
            raise PackageError(
                f"no rule is called '{name}'",
                hint=f"did you mean '{near[0]}'? Known rules: {known}" if near else f"known rules: {known}",
                place=self._place(package, "build_system"),
            )
        return rule

    def _from_source(self, package: Package, platform: Platform) -> int:
        rule = self._rule(package, "make")
        return self._build(package, platform, rule, self._source(package, "source", platform))

    def _prebuilt(self, package: Package, platform: Platform) -> int:
        rule = self._rule(replace(package, build_system="prebuilt"), "prebuilt")
        absence = self._absence(package, platform)
        if absence is not None:
            raise PackageError(
                f"there is no prebuilt archive of '{package.name}' for {platform.arch}: {absence.absent}",
                hint="build it from source: fallback_to_source = true, without --require-prebuilt",
                place=self._place(package, "prebuilt"),
            )
        source = self._source(package, "prebuilt", platform)
        made = self._build(_ready_made(package, rule), platform, rule, source)
        return self._tried(package, platform, made) if package.smoke_test else made

    def _tried(self, package: Package, platform: Platform, made: int) -> int:
        """What a prebuilt archive holds, once its smoke test has passed."""
        ids, built, packages = self._builder.nodes.ids, self._built[platform.arch], self._config.packages
        needs: dict[str, None] = {}
        pending = [package]
        while pending:
            each = pending.pop()
            for name in (*each.dependencies, *each.runtime_dependencies):
                if name not in needs:
                    needs[name] = None
                    pending.append(packages[name])
        runtime, propagates = self._runtime(package, platform)
        tried = smoke_test(
            self._builder,
            self._toolchain,
            package,
            platform,
            BUILD_ARCH,
            made=ids[made],
            needs=[ids[built[name]] for name in needs],
            attributes=_attributes(package),
            runtime=tuple(ids[each] for each in runtime),
            propagates=tuple(ids[runtime[each]] for each in propagates),
        )
        return self._step(tried, _path(package, "smoke_test"))

    def _absence(self, package: Package, platform: Platform) -> LockedSource | None:
        """What the lock says of a prebuilt archive that upstream does not have."""
        absence = self._lock.absence(package.name, "prebuilt", platform.arch)
        return absence if absence is not None and source_fits(package, "prebuilt", platform, absence) else None

    def _choice(self, package: Package, platform: Platform) -> int:
        """The vendor's binary, and the source build that stands in for it."""
        given = package
        rule = self._rules.get(package.build_system or "make")
        if package.options and rule is not None:
            package = replace(package, options={k: v for k, v in package.options.items() if k in rule.options})
        source = self._from_source(package, platform)
        absence = self._absence(package, platform)
        if absence is not None:
            return self._combined(package, platform, Choice(absence.absent), (source,))
        return self._combined(package, platform, Choice(), (self._prebuilt(given, platform), source))

    def _build(self, package: Package, platform: Platform, rule: Rule, source: Source) -> int:
        """The step that builds a package. Made as a recipe at once: there are tens of thousands of them."""
        inputs = [Use.BIND, "/in/source", "out", ""]
        needs = [source.node]
        patches = []
        for index, patch in enumerate(package.patches):
            needs.append(self._local(patch, patch.path.name, _path(package, "patches")))
            inputs += (Use.BIND, f"/in/patches/{index}", "out", "")
            patches.append(f"/in/patches/{index}/{patch.path.name}")
        hooks: dict[str, str | None] = {"pre": None, "post": None}
        for when, hook in (("pre", package.pre_build_script), ("post", package.post_build_script)):
            if hook is not None:
                needs.append(self._local(hook, hook.path.name, _path(package, f"{when}_build_script")))
                inputs += (Use.BIND, f"/in/hooks/{when}", "out", "")
                hooks[when] = f"/in/hooks/{when}/{hook.path.name}"
        files: dict[str, str] = {}
        for name, value in package.options.items():
            if isinstance(value, LocalPath):
                needs.append(self._local(value, value.path.name, _path(package, "options")))
                inputs += (Use.BIND, f"/in/files/{name}", "out", "")
                files[name] = f"/in/files/{name}/{value.path.name}"
        context = BuildContext(
            package, platform, self._native, source.path, tuple(patches), hooks["pre"], hooks["post"], files
        )
        caller = self._caller(rule)
        call = caller.call(context)
        if package.phases:
            # The package's own texts are the user's: what is wrong with them is said now, and not when it is built.
            check_own_phases(rule, call)
        built = self._built[platform.arch]
        needed = package.dependencies
        if package.build_dependencies:
            needed = (*package.build_dependencies, *needed)
        libraries = [built[name] for name in dict.fromkeys(needed)]
        tools = [self.package(name, self._native) for name in package.native_dependencies]
        sets = self._toolsets((*package.tools, *caller.toolsets(context, call)))
        inputs += self._library_inputs[platform.arch] * len(libraries)
        inputs += (Use.CLOSURE, "/", "out", "") * len(tools)
        inputs += (Use.LAYER, "/", "out", "") * len(sets)
        needs += (*libraries, *tools, *sets)
        runtime, propagates = self._runtime(package, platform)
        script = None
        if package.attributes or package.allow_missing:
            script = Script("", attributes=_attributes(package), call=call, allow_missing=package.allow_missing)
        recipe = call_recipe(
            package.name,
            package.version,
            platform.arch,
            inputs,
            len(runtime),
            propagates,
            call,
            script,
            package.all_outputs,
        )
        return self._recipe(recipe, [*needs, *runtime], b"", _path(package))

    def _toolsets(self, names: tuple[str, ...]) -> tuple[int, ...]:
        known = self._known_toolsets.get(names)
        if known is None:
            index = self._builder.nodes.index
            sets = toolsets(self._builder, self._toolchain, names, BUILD_ARCH)
            known = self._known_toolsets[names] = tuple(index[each] for each in sets)
        return known

    def _caller(self, rule: Rule) -> Caller:
        known = self._callers.get(rule.name)
        if known is None:
            known = self._callers[rule.name] = Caller(rule, self._memory.rule_toolsets.get(rule.name))
        return known


def _path(package: Package, key: str = "name") -> KeyPath:
    return ("packages", package.name, key)


def _ready_made(package: Package, rule: Rule) -> Package:
    """What of a package's table is about its archive where it has a source, too: the rest says how that is built."""
    if not package.source:
        return package
    return replace(
        package,
        patches=(),
        pre_build_script=None,
        post_build_script=None,
        build_flags=(),
        configure_flags=(),
        options={name: value for name, value in package.options.items() if name in rule.options},
        phases={},
        check=False,
        subdir="",
    )


def _attributes(package: Package) -> tuple[Attribute, ...]:
    """``path = "owner:group mode"`` as attributes of the output."""
    result = []
    for path, text in sorted(package.attributes.items()):
        ownership, _, mode = text.partition(" ")
        owner, _, group = ownership.partition(":")
        result.append(Attribute(path, owner or "root", group or owner or "root", int(mode, 8) if mode else None))
    return tuple(result)


def _filename(url: str) -> str:
    """The name under which a download is kept: the last component of the URL, without query."""
    path = url.partition("://")[2]
    if "/" in path and not _SPECIAL & set(path):
        name = path.rpartition("/")[2]
        return name if name not in ("", ".", "..") else "download"
    from urllib.parse import unquote, urlsplit

    name = unquote(urlsplit(url).path.rsplit("/", 1)[-1])
    return name if name not in ("", ".", "..") else "download"


def instantiate(config: Config, lock: Lock, rules: Mapping[str, Rule], toolchain: Toolchain) -> DerivationGraph:
    """Turn a configuration into its derivation graph.

    Raises ``NotLockedError`` where ``nexis.lock`` lacks something, ``PackageError`` for a package that cannot be built
    as written, and ``OSError`` subclasses wrapped by their readers for files that vanished since they were checked.
    """
    return Instantiator(config, lock, rules, toolchain).graph()
