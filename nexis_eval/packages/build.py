"""A package that a rule builds: its download, its patches and hooks, and the step that runs the rule."""

from __future__ import annotations

from dataclasses import dataclass

from nexis_eval.build_rules.calls import BuildContext
from nexis_eval.build_rules.model import Rule
from nexis_eval.build_rules.rendering import check_own_phases
from nexis_eval.config.model import LocalPath, Package
from nexis_eval.graph.dag import layers
from nexis_eval.graph.derivation import Attribute, Derivation, FetchGit, Input, Script, Use
from nexis_eval.packages.making import NAME, Making
from nexis_eval.platforms import Platform


@dataclass(frozen=True, slots=True)
class Source:
    """Where a build finds its source: the derivation and the path inside the sandbox."""

    node: int
    """The number of the derivation's node."""
    path: str


def from_source(making: Making, package: Package, platform: Platform) -> int:
    """Build a package by the rule of its build system."""
    return built(making, package, platform, making.source_rule(package), download(making, package, "source", platform))


def download(making: Making, package: Package, field: str, platform: Platform) -> Source:
    """The fixed-output derivation of ``source`` or ``prebuilt``."""
    fetch, version = making.pins.download(package, field, platform)
    name = f"{package.name}-{field}"
    arch = platform.arch if field == "prebuilt" else making.build_machine.arch
    path = "/in/source" if isinstance(fetch, FetchGit) else f"/in/source/{fetch.filename}"
    return Source(making.step(Derivation(name, fetch, arch, version=version), field), path)


def built(making: Making, package: Package, platform: Platform, rule: Rule, source: Source) -> int:
    """The step that builds a package."""
    ids = making.builder.nodes.ids
    inputs = [Input(ids[source.node], Use.BIND, "/in/source")]
    patches = []
    for index, patch in enumerate(package.patches):
        node = making.local(patch, patch.path.name, "patches")
        inputs.append(Input(ids[node], Use.BIND, f"/in/patches/{index}"))
        patches.append(f"/in/patches/{index}/{patch.path.name}")
    hooks: dict[str, str | None] = {"pre": None, "post": None}
    for when, hook in (("pre", package.pre_build_script), ("post", package.post_build_script)):
        if hook is not None:
            node = making.local(hook, hook.path.name, f"{when}_build_script")
            inputs.append(Input(ids[node], Use.BIND, f"/in/hooks/{when}"))
            hooks[when] = f"/in/hooks/{when}/{hook.path.name}"
    files: dict[str, str] = {}
    for name, value in package.options.items():
        if isinstance(value, LocalPath):
            node = making.local(value, value.path.name, "options")
            inputs.append(Input(ids[node], Use.BIND, f"/in/files/{name}"))
            files[name] = f"/in/files/{name}/{value.path.name}"
    context = BuildContext(
        package, platform, making.build_machine, source.path, tuple(patches), hooks["pre"], hooks["post"], files
    )
    caller = making.caller(rule)
    call = caller.call(context)
    if package.phases:
        # The package's own texts are the user's: what is wrong with them is said now, and not when it is built.
        check_own_phases(rule, call)
    others = making.built[platform.arch]
    needed = package.dependencies
    if package.build_dependencies:
        needed = (*package.build_dependencies, *needed)
    libraries = [others[name] for name in dict.fromkeys(needed)]
    tools = [making.native(name) for name in package.native_dependencies]
    sets = making.toolsets((*package.tools, *caller.toolsets(context, call)))
    at, subdir = (f"/usr/{platform.triplet}", "usr") if platform.arch != making.build_machine.arch else ("/", "")
    inputs += [Input(ids[node], Use.CLOSURE, at, subdir=subdir) for node in libraries]
    inputs += [Input(ids[node], Use.CLOSURE, "/") for node in tools]
    inputs += layers(ids[node] for node in sets)
    runtime, propagates = making.runtime(package, platform)
    script = Script("", attributes=attributes_of(package), call=call, allow_missing=package.allow_missing)
    return making.step(
        Derivation(
            package.name,
            script,
            platform.arch,
            version=package.version,
            inputs=tuple(inputs),
            outputs=package.all_outputs,
            runtime=tuple(ids[node] for node in runtime),
            propagates=tuple(ids[runtime[place]] for place in propagates),
        ),
        NAME,
    )


def attributes_of(package: Package) -> tuple[Attribute, ...]:
    """``path = "owner:group mode"`` as attributes of the output."""
    result = []
    for path, text in sorted(package.attributes.items()):
        ownership, _, mode = text.partition(" ")
        owner, _, group = ownership.partition(":")
        result.append(Attribute(path, owner or "root", group or owner or "root", int(mode, 8) if mode else None))
    return tuple(result)
