"""From packages and parts to everything that a person takes away: the targets of a system."""

from __future__ import annotations

from collections.abc import Mapping

from nexis_eval.config.check import kernel_package
from nexis_eval.config.errors import each_error, raise_together
from nexis_eval.config.model import Config
from nexis_eval.graph.dag import GraphBuilder
from nexis_eval.graph.derivation import Derivation, Input, Union, Use
from nexis_eval.graph.target import SystemPart
from nexis_eval.image.initramfs import initramfs
from nexis_eval.image.iso import BootFiles, generation, grub, iso
from nexis_eval.image.kernel import early_modules, kernel, system_modules
from nexis_eval.image.qemu import run_script
from nexis_eval.image.rootfs import ext2, packages_tree, rootfs, squashfs
from nexis_eval.platforms import platform_named
from nexis_eval.system.assemble import system_parts
from nexis_eval.system.context import MissingPackageError, System
from nexis_eval.system.firewall import missing_loader
from nexis_eval.system.region import region
from nexis_eval.system.steps import Tools
from nexis_eval.toolchain import Toolchain
from nexis_store.digest import DerivationId
from nexis_store.errors import NexisError


def missing_packages(config: Config) -> list[MissingPackageError]:
    """What the system needs and its configuration does not have; none where there is no kernel, and so no system."""
    chosen = kernel_package(config)
    if chosen is None or not chosen.install:
        return []
    system = System(config, platform_named(config.arch), GraphBuilder())
    wanted = {"busybox": "is the program of the initramfs and, with it, starts the system"}
    if system.init == "dinit":
        wanted["dinit"] = "is to be process 1"
    found = [
        MissingPackageError(
            f"the system has no package '{name}', which {why}",
            hint=f'declare it: [[packages]] name = "{name}"; examples/minimal/system.toml has one',
            place=config.place(("system", "init")) or config.place(("system",)),
        )
        for name, why in wanted.items()
        if name not in config.packages or not config.packages[name].install
    ]
    loader = missing_loader(system)
    return [*found, loader] if loader else found


def check_parts(config: Config) -> None:
    """Raise what is wrong with the parts of a system that is not there yet, beside the packages that it lacks."""
    try:
        system_parts(System(config, platform_named(config.arch), GraphBuilder()))
    except NexisError as error:
        raise_together(each for each in each_error(error) if not isinstance(each, MissingPackageError))


def add_system(
    config: Config, builder: GraphBuilder, toolchain: Toolchain, packages: Mapping[str, DerivationId]
) -> None:
    """Add the system and its images to ``builder``, with a target for each.

    ``packages`` are the installed ones. A configuration without a kernel is a set of packages and no system: it gets no
    targets but theirs. Raises what ``missing_packages`` finds, ``TemplateFileError``, ``ServiceCommandError``.
    """
    chosen = kernel_package(config)
    if chosen is None or chosen.name not in packages:
        check_parts(config)
        return
    raise_together(missing_packages(config))
    system = System(config, platform_named(config.arch), builder)
    tools = Tools(system, toolchain)
    package = packages[chosen.name]
    installed = {name: each for name, each in packages.items() if name != chosen.name}

    modules = system_modules(tools, package)
    parts = [*region(tools), *system_parts(system)]
    tree = rootfs(tools, packages_tree(tools, installed, config.conflicts), modules, parts)
    image = kernel(tools, package)
    first = initramfs(tools, early_modules(tools, modules), packages["busybox"])
    squashed = squashfs(tools, tree)
    disk = ext2(tools, tree)
    this = generation(tools, BootFiles(image, first, squashed))
    medium = iso(tools, grub(tools), ((1, this),))
    results = (image, first, disk, medium, run_script(system))
    images = builder.add(
        Derivation(
            "images",
            Union(),
            platform=config.arch,
            inputs=tuple(Input(each, Use.LAYER, "/") for each in results),
        )
    )
    builder.parts = {
        SystemPart.KERNEL: image,
        SystemPart.INITRAMFS: first,
        SystemPart.ROOTFS: tree,
        SystemPart.SQUASHFS: squashed,
        SystemPart.EXT2: disk,
        SystemPart.SYSTEM: this,
        SystemPart.ISO: medium,
        SystemPart.IMAGES: images,
    }
