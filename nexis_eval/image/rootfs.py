"""The root file system: packages and parts as one tree, then as squashfs and as an ext4 image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from nexis_eval.graph.derivation import PACKAGES, Derivation, Input, Union, Use
from nexis_eval.system.contribution import Program
from nexis_eval.system.steps import RECENT, Tools
from nexis_store.digest import DerivationId

DEVELOPMENT = (
    "boot",
    "linuxrc",
    "usr/include",
    "usr/lib/modules",
    "usr/lib/pkgconfig",
    "usr/share/aclocal",
    "usr/share/doc",
    "usr/share/info",
    "usr/share/man",
    "usr/share/pkgconfig",
)
"""What a running system does not take from its packages; its modules come from a step of their own."""


def packages_tree(tools: Tools, packages: Mapping[str, DerivationId], winners: Mapping[str, str]) -> DerivationId:
    """All packages as one tree; two that own a path are an error unless ``[conflicts]`` names the winner."""
    # The longest first, as it decides: so a union that was made when the shortest did is made again.
    nearest_first = sorted(winners.items(), key=lambda item: (-item[0].count("/"), item[0]))
    return tools.system.builder.add(
        Derivation(
            PACKAGES,
            Union(winners=tuple((path.strip("/"), name) for path, name in nearest_first), exclude=DEVELOPMENT),
            platform=tools.system.platform.arch,
            inputs=tuple(Input(each, Use.LAYER, "/") for each in dict.fromkeys(packages.values())),
        )
    )


def rootfs(
    tools: Tools,
    packages: DerivationId,
    modules: DerivationId,
    parts: Sequence[DerivationId],
    programs: Iterable[Program],
) -> DerivationId:
    """The tree of the running system: what the configuration says replaces what packages bring."""
    trees = (packages, modules, *parts)
    return tools.system.builder.add(
        Derivation(
            "rootfs",
            Union(later_wins=True, required=required_programs(programs)),
            platform=tools.system.platform.arch,
            inputs=tuple(Input(each, Use.LAYER, "/") for each in trees),
        )
    )


STATIC = ("/bin/", "/etc/", "/lib/", "/opt/", "/sbin/", "/usr/")
"""What is below these is in the image; other directories are filled while the system runs."""


def required_programs(programs: Iterable[Program]) -> tuple[tuple[str, str], ...]:
    """Those that the image must have, with the keys that name them."""
    return tuple(sorted((each.path, each.key) for each in programs if each.path.startswith(STATIC)))


def squashfs(tools: Tools, tree: DerivationId) -> DerivationId:
    """Output: ``root.squashfs``."""
    # sqfstar 4.5.1 gives the root directory to whoever runs it, whatever -root-uid says.
    return tools.step("squashfs", "squashfs.sh", (Input(tree, Use.TAR, "/in/rootfs.tar"),), as_root=True)


def _uuid(text: str) -> str:
    """A UUID (version 8, RFC 9562) made from ``text``: an image must not have a random one."""
    from blake3 import blake3

    digits = list(blake3(text.encode()).hexdigest()[:32])
    digits[12] = "8"
    digits[16] = "89ab"[int(digits[16], 16) % 4]
    plain = "".join(digits)
    return "-".join((plain[:8], plain[8:12], plain[12:16], plain[16:20], plain[20:]))


def ext2(tools: Tools, tree: DerivationId) -> DerivationId:
    """Output: ``rootfs.ext2``, an ext4 image under the name that Buildroot gives it."""
    settings = tools.system.config.system
    env = {
        "SIZE_MB": str(settings.root_size_mb),
        "UUID": _uuid(f"root {settings.hostname} {tools.system.platform.arch}"),
    }
    inputs = (Input(tree, Use.TAR, "/in/rootfs.tar"), Input(tree, Use.XATTRS, "/in/rootfs.xattrs"))
    return tools.step("ext2", "ext2.sh", inputs, env=env, tools=RECENT)
