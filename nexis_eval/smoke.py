"""``smoke_test``: a step that runs one command of a ready-made package before anything may depend on it."""

from __future__ import annotations

from collections.abc import Iterable

from nexis_eval.config.model import Package
from nexis_eval.graph.dag import GraphBuilder, layers
from nexis_eval.graph.derivation import Attribute, Derivation, Entry, Files, Input, Script, Use
from nexis_eval.platforms import Platform
from nexis_eval.system.templates import text
from nexis_eval.toolchain import Toolchain, toolsets
from nexis_store.digest import DerivationId

TARGET = "target"


def smoke_test(
    builder: GraphBuilder,
    toolchain: Toolchain,
    package: Package,
    platform: Platform,
    build_arch: str,
    *,
    made: DerivationId,
    needs: Iterable[DerivationId],
    attributes: tuple[Attribute, ...],
    runtime: tuple[DerivationId, ...],
    propagates: tuple[DerivationId, ...],
) -> Derivation:
    """The step that hands on ``made`` if the package's command succeeds.

    ``needs`` is all that the package needs to run: only that, its own files and a shell are there. For another
    architecture QEMU runs the command.
    """
    native = platform.arch == build_arch
    at, names = ("/", ("core",)) if native else (f"/{TARGET}", ("emulators",))
    tools = list(toolsets(builder, toolchain, names))
    if not native:
        tools.append(builder.add(Derivation("smoke-test-target", Files((Entry(TARGET),)), platform=build_arch)))
    several = bool(package.outputs)
    binds = (
        Input(made, Use.BIND, f"/in/package/{output}" if several else "/in/package", output)
        for output in package.all_outputs
    )
    env = (
        ("NEXIS_ARCH", platform.arch),
        ("NEXIS_NAME", package.name),
        ("NEXIS_SMOKE_TEST", package.smoke_test or ""),
        *((name, value) for name, value in sorted(package.env.items())),
    )
    return Derivation(
        f"{package.name}-smoke-test",
        Script(text("smoke-test.sh"), tuple(sorted(env)), attributes=attributes),
        platform=platform.arch,
        version=package.version,
        inputs=(*binds, *layers((made, *needs), at), *layers(tools)),
        outputs=package.all_outputs,
        runtime=runtime,
        propagates=propagates,
    )
