"""From packages and parts to everything that a person takes away: the targets of a system."""

from __future__ import annotations

from collections.abc import Mapping

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
from nexis_eval.system.assemble import contributions, missing_packages, system_layers
from nexis_eval.system.context import MissingPackageError, System
from nexis_eval.system.steps import Tools
from nexis_eval.system.view import SystemView
from nexis_eval.toolchain import Toolchain
from nexis_store.digest import DerivationId
from nexis_store.errors import NexisError


def missing_from(config: Config) -> list[MissingPackageError]:
    """The packages that the system needs and its configuration does not have."""
    view = SystemView.of(config)
    return missing_packages(view, contributions(view).everything)


def add_system(
    view: SystemView, builder: GraphBuilder, toolchain: Toolchain, packages: Mapping[str, DerivationId]
) -> None:
    """Add the system and its images to ``builder``, with a target for each.

    ``packages`` are the installed ones. A configuration without a kernel is a set of packages and no system: it gets no
    targets but theirs. Raises together what is wrong with the parts, and ``MissingPackageError`` for what they need.
    """
    contributed = contributions(view)
    everything = contributed.everything
    missing: list[NexisError] = [*missing_packages(view, everything)]
    try:
        layers = system_layers(view, contributed)
    except NexisError as error:
        raise_together([*missing, *each_error(error)])
    raise_together(missing)
    chosen = view.kernel
    if chosen is None or chosen not in packages:
        return
    system = System(view, builder)
    tools = Tools(system, toolchain)
    package = packages[chosen]
    installed = {name: each for name, each in packages.items() if name != chosen}

    modules = system_modules(tools, package, everything)
    steps = [tools.step(each.name, each.script, (), env=dict(each.env), tools=each.tools) for each in everything.steps]
    parts = [*steps, *(system.files(each.name, each.entries, each.at) for each in layers)]
    tree = rootfs(tools, packages_tree(tools, installed, view.config.conflicts), modules, parts, everything.programs)
    image = kernel(tools, package)
    first = initramfs(tools, early_modules(tools, modules, everything), packages["busybox"])
    squashed = squashfs(tools, tree)
    disk = ext2(tools, tree)
    this = generation(tools, BootFiles(image, first, squashed))
    medium = iso(tools, grub(tools), ((1, this),))
    results = (image, first, disk, medium, run_script(system))
    images = builder.add(
        Derivation(
            "images",
            Union(),
            platform=view.config.arch,
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
