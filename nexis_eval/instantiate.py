"""Configuration + lock + rules → derivation graph. Reads the user's patches and hooks; runs and fetches nothing.

Packages come first, in the order of their dependencies; the system parts and images, which only combine packages, are
added by ``nexis_eval.image.assemble``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

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
from nexis_eval.graph import DerivationGraph, GraphBuilder, layers
from nexis_eval.image.assemble import add_system
from nexis_eval.lock.fits import LATEST, debian_request, source_fits
from nexis_eval.lock.model import Lock, LockedSource
from nexis_eval.platforms import Platform, platform_named
from nexis_eval.rules import BuildContext, Caller, Renderer, Rule, render_call
from nexis_eval.templates import expand
from nexis_eval.toolchain import Toolchain, toolsets
from nexis_store.digest import DerivationId
from nexis_store.errors import NexisError, Place
from nexis_store.hashing import tree_of_path

BUILD_ARCH = "x86_64"
DOCUMENTATION = ("usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/lintian", "usr/share/bug")


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

    derivation: DerivationId
    path: str


class Instantiator:
    """Turns one configuration into a graph; ``instantiate`` is the way in."""

    def __init__(self, config: Config, lock: Lock, rules: Mapping[str, Rule], toolchain: Toolchain) -> None:
        self._config = config
        self._lock = lock
        self._rules = rules
        self._toolchain = toolchain
        self._builder = GraphBuilder()
        self._target = platform_named(config.arch)
        self._built: dict[tuple[str, str], DerivationId] = {}
        self._callers: dict[str, Caller] = {}

    def graph(self) -> DerivationGraph:
        """The whole graph, with a target for each package and for each part of the system."""
        for name in self._config.packages:
            self._builder.target(name, self.package(name, self._target))
        installed = {
            name: self._built[name, self._target.arch]
            for name, package in self._config.packages.items()
            if package.install
        }
        add_system(self._config, self._builder, self._toolchain, installed)
        renderer = Renderer({caller.digest: caller.rule for caller in self._callers.values()})
        return self._builder.finish(renderer, self._config.place)

    def package(self, name: str, platform: Platform) -> DerivationId:
        """The derivation of a package for ``platform``; what it depends on is added first, by a loop."""
        pending = [name]
        while pending:
            current = pending[-1]
            if (current, platform.arch) in self._built:
                pending.pop()
                continue
            package = self._config.packages[current]
            missing = [
                needed
                for needed in (*package.dependencies, *package.build_dependencies, *package.runtime_dependencies)
                if (needed, platform.arch) not in self._built
            ]
            if missing:
                pending.extend(missing)
                continue
            pending.pop()
            self._built[current, platform.arch] = self._add(package, platform)
        return self._built[name, platform.arch]

    def _place(self, package: Package, key: str = "name") -> Place | None:
        return self._config.place(_path(package, key))

    def _add(self, package: Package, platform: Platform) -> DerivationId:
        package = self._resolved(package, platform)
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

    def _runtime(self, package: Package, platform: Platform) -> tuple[DerivationId, ...]:
        names = dict.fromkeys((*package.dependencies, *package.runtime_dependencies))
        return tuple(self._built[name, platform.arch] for name in names)

    def _propagated(self, package: Package, platform: Platform) -> tuple[DerivationId, ...]:
        return tuple(self._built[name, platform.arch] for name in dict.fromkeys(package.dependencies))

    # Debian packages

    def _debian(self, package: Package, platform: Platform) -> DerivationId:
        debs = self._lock.debs(package.name, platform.arch, debian_request(package, platform))
        if debs is None:
            raise NotLockedError(
                f"the Debian packages of '{package.name}' are not in the lock for {platform.arch}",
                hint="run 'nexis-eval lock' to pin their versions and hashes",
                place=self._place(package, "debian"),
            )
        parts = []
        for deb in debs:
            fetched = self._builder.add(
                Derivation(
                    f"{deb.name}.deb",
                    Fetch(deb.urls, "sha256", deb.sha256, deb.urls[0].rsplit("/", 1)[1], deb.size),
                    platform=platform.arch,
                    version=deb.version,
                ),
                _path(package, "debian"),
            )
            parts.append(
                self._builder.add(
                    Derivation(
                        deb.name,
                        Unpack("deb", exclude=DOCUMENTATION),
                        platform=platform.arch,
                        version=deb.version,
                        inputs=(Input(fetched, Use.BIND, "/in/archive"),),
                    ),
                    _path(package, "debian"),
                )
            )
        return self._builder.add(
            Derivation(
                package.name,
                Union(),
                platform=platform.arch,
                version=package.version,
                inputs=tuple(layers(parts)),
                runtime=self._runtime(package, platform),
                propagates=self._propagated(package, platform),
            ),
            _path(package),
        )

    # Sources

    def _locked(self, package: Package, field: str, platform: Platform) -> LockedSource | None:
        """What pins a field, if it was made for the version and URLs that the configuration names now."""
        locked = self._lock.source(package.name, field, platform.arch)
        return locked if locked is not None and source_fits(package, field, platform, locked) else None

    def _resolved(self, package: Package, platform: Platform) -> Package:
        """The package with the version that ``latest`` was locked to."""
        if package.version != LATEST:
            return package
        for field in ("source", "prebuilt"):
            locked = self._locked(package, field, platform)
            if locked is not None and locked.version:
                return replace(package, version=locked.version)
        return package

    def _source(self, package: Package, field: str, platform: Platform) -> Source:
        """The fixed-output derivation of ``source`` or ``prebuilt``. A hash in the configuration wins over the lock."""
        locked = self._locked(package, field, platform)
        templates = package.source if field == "source" else package.prebuilt
        declared = package.hash if field == "source" else package.prebuilt_hash
        if locked is not None and locked.commit:
            assert locked.tree is not None
            builder: Fetch | FetchGit = FetchGit(locked.urls[0], locked.commit, locked.tree, locked.submodules)
            path = "/in/source"
        else:
            builder = self._download(package, field, platform, locked, templates, declared)
            path = f"/in/source/{builder.filename}"
        identity = self._builder.add(
            Derivation(
                f"{package.name}-source" if field == "source" else f"{package.name}-{field}",
                builder,
                platform=platform.arch if field == "prebuilt" else BUILD_ARCH,
                version=(locked.version if locked else "") or package.version,
            ),
            _path(package, field),
        )
        return Source(identity, path)

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
            urls = tuple(
                expand(each, name=package.name, version=package.version, platform=platform) for each in templates
            )
            return Fetch(urls, algorithm, digest, _filename(urls[0]))
        raise NotLockedError(
            f"nothing pins the {field} of '{package.name}': no 'hash' in its table, no entry in the lock",
            hint="run 'nexis-eval lock' to download and pin it",
            place=self._place(package, field),
        )

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

    def _local(self, path: LocalPath, name: str, at: KeyPath) -> DerivationId:
        """A file of the user's as an input, addressed by its content."""
        return self._builder.add(
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

    def _from_source(self, package: Package, platform: Platform) -> DerivationId:
        rule = self._rule(package, "make")
        return self._build(package, platform, rule, self._source(package, "source", platform))

    def _prebuilt(self, package: Package, platform: Platform) -> DerivationId:
        rule = self._rule(replace(package, build_system="prebuilt"), "prebuilt")
        return self._build(package, platform, rule, self._source(package, "prebuilt", platform))

    def _choice(self, package: Package, platform: Platform) -> DerivationId:
        """The vendor's binary, and the source build that stands in for it."""
        source = self._from_source(package, platform)
        absence = self._lock.absence(package.name, "prebuilt", platform.arch)
        if absence is not None and source_fits(package, "prebuilt", platform, absence):
            return source
        alternatives = (self._prebuilt(package, platform), source)
        return self._builder.add(
            Derivation(
                package.name,
                Choice(),
                platform=platform.arch,
                version=package.version,
                inputs=tuple(Input(each, Use.LAYER, "/") for each in alternatives),
                runtime=self._runtime(package, platform),
                propagates=self._propagated(package, platform),
            ),
            _path(package),
        )

    def _build(self, package: Package, platform: Platform, rule: Rule, source: Source) -> DerivationId:
        native = platform.arch == BUILD_ARCH
        build_platform = platform_named(BUILD_ARCH)
        inputs = [Input(source.derivation, Use.BIND, "/in/source")]
        patches = []
        for index, patch in enumerate(package.patches):
            identity = self._local(patch, patch.path.name, _path(package, "patches"))
            inputs.append(Input(identity, Use.BIND, f"/in/patches/{index}"))
            patches.append(f"/in/patches/{index}/{patch.path.name}")
        hooks: dict[str, str | None] = {"pre": None, "post": None}
        for when, hook in (("pre", package.pre_build_script), ("post", package.post_build_script)):
            if hook is not None:
                identity = self._local(hook, hook.path.name, _path(package, f"{when}_build_script"))
                inputs.append(Input(identity, Use.BIND, f"/in/hooks/{when}"))
                hooks[when] = f"/in/hooks/{when}/{hook.path.name}"
        files: dict[str, str] = {}
        for name, value in package.options.items():
            if isinstance(value, LocalPath):
                identity = self._local(value, value.path.name, _path(package, "options"))
                inputs.append(Input(identity, Use.BIND, f"/in/files/{name}"))
                files[name] = f"/in/files/{name}/{value.path.name}"
        context = BuildContext(
            package=package,
            platform=platform,
            build_platform=build_platform,
            source=source.path,
            patches=tuple(patches),
            pre_build=hooks["pre"],
            post_build=hooks["post"],
            files=files,
        )
        caller = self._caller(rule)
        call = caller.call(context)
        # The package's own texts are the user's: what is wrong with them is said now, and not when it is built.
        script, env = render_call(rule, call) if package.phases else ("", ())
        at, subdir = ("/", "") if native else (f"/usr/{platform.triplet}", "usr")
        needed = dict.fromkeys((*package.build_dependencies, *package.dependencies))
        inputs.extend(Input(self._built[name, platform.arch], Use.CLOSURE, at, subdir=subdir) for name in needed)
        inputs.extend(
            Input(self.package(name, build_platform), Use.CLOSURE, "/") for name in package.native_dependencies
        )
        names = (*package.tools, *caller.toolsets(context, call))
        inputs.extend(layers(toolsets(self._builder, self._toolchain, names, BUILD_ARCH)))
        return self._builder.add(
            Derivation(
                package.name,
                Script(script, env, attributes=_attributes(package), call=call),
                platform=platform.arch,
                version=package.version,
                inputs=tuple(inputs),
                runtime=self._runtime(package, platform),
                propagates=self._propagated(package, platform),
            ),
            _path(package),
        )

    def _caller(self, rule: Rule) -> Caller:
        known = self._callers.get(rule.name)
        if known is None:
            known = self._callers[rule.name] = Caller(rule)
        return known


def _path(package: Package, key: str = "name") -> KeyPath:
    return ("packages", package.name, key)


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
    from urllib.parse import unquote, urlsplit

    name = unquote(urlsplit(url).path.rsplit("/", 1)[-1])
    return name if name not in ("", ".", "..") else "download"


def instantiate(config: Config, lock: Lock, rules: Mapping[str, Rule], toolchain: Toolchain) -> DerivationGraph:
    """Turn a configuration into its derivation graph.

    Raises ``NotLockedError`` where ``nexis.lock`` lacks something, ``PackageError`` for a package that cannot be built
    as written, and ``OSError`` subclasses wrapped by their readers for files that vanished since they were checked.
    """
    return Instantiator(config, lock, rules, toolchain).graph()
