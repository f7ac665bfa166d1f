"""From packages and parts to everything that a person takes away: the targets of a system."""

from __future__ import annotations

from collections.abc import Mapping

from nexis_eval.config.model import Config
from nexis_eval.derivation import Derivation, Input, Union, Use
from nexis_eval.graph import GraphBuilder
from nexis_eval.image.initramfs import initramfs
from nexis_eval.image.iso import iso
from nexis_eval.image.kernel import kernel
from nexis_eval.image.qemu import run_script
from nexis_eval.image.rootfs import ext2, rootfs, squashfs
from nexis_eval.image.tools import ImageTools
from nexis_eval.platforms import platform_named
from nexis_eval.system.assemble import system_parts
from nexis_eval.system.context import System
from nexis_eval.toolchain import Toolchain
from nexis_store.digest import DerivationId
from nexis_store.errors import NexisError


class MissingPackageError(NexisError):
    """A system needs a package that its configuration does not have."""

    code = "E0408"
    exit_code = 2


def _package(config: Config, packages: Mapping[str, DerivationId], name: str, why: str) -> DerivationId:
    found = packages.get(name)
    if found is None:
        raise MissingPackageError(
            f"the system has no package '{name}', which {why}",
            hint=f'declare it: [[packages]] name = "{name}"; examples/minimal/system.toml has one',
            place=config.place(("packages",)),
        )
    return found


def kernel_package(config: Config) -> str:
    """The name of the package that provides the kernel: ``[system] kernel`` is a name, or name-version."""
    wanted = config.system.kernel
    for name, package in config.packages.items():
        if wanted in (name, f"{name}-{package.version}"):
            return name
    return wanted


def add_system(
    config: Config, builder: GraphBuilder, toolchain: Toolchain, packages: Mapping[str, DerivationId]
) -> None:
    """Add the system and its images to ``builder``, with a target for each."""
    system = System(config, platform_named(config.arch), builder)
    tools = ImageTools(system, toolchain)
    kernel_name = kernel_package(config)
    busybox = _package(config, packages, "busybox", "starts it and is its shell")
    image = kernel(tools, _package(config, packages, kernel_name, "is its kernel"), config.system.kernel_modules)
    installed = {name: each for name, each in packages.items() if name != kernel_name}
    winners = [
        *((file.path.lstrip("/"), f"config-file-{name}") for name, file in config.config_files.items()),
        *((path.lstrip("/"), name) for path, name in config.conflicts.items()),
    ]
    tree = rootfs(tools, installed, system_parts(system), image, winners)
    early = initramfs(tools, image, busybox)
    squashed = squashfs(tools, tree)
    disk = ext2(tools, tree, config.system.root_size_mb)
    medium = iso(tools, image, early, squashed)
    script = run_script(system)
    results = (image, early, disk, medium, script)
    images = builder.add(
        Derivation(
            "images",
            Union(),
            platform=config.arch,
            inputs=tuple(Input(each, Use.LAYER, "/") for each in results),
        )
    )
    targets = {
        "kernel": image,
        "initramfs": early,
        "rootfs": tree,
        "system": tree,
        "squashfs": squashed,
        "ext2": disk,
        "iso": medium,
        "images": images,
    }
    for name, each in targets.items():
        builder.target(name, each)
