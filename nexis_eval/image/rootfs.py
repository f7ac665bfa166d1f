"""The root file system: the union of packages and parts, as squashfs and as ext2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nexis_eval.derivation import Derivation, Input, Union, Use
from nexis_eval.image.tools import ImageTools
from nexis_store.digest import DerivationId

DEVELOPMENT = (
    "usr/include",
    "usr/lib/pkgconfig",
    "usr/share/pkgconfig",
    "usr/lib/cmake",
    "usr/share/aclocal",
    "usr/share/man",
    "usr/share/info",
    "usr/share/doc",
    "linuxrc",
    "boot",
    "usr/lib/modules",
)
"""What a running system does not need; the modules it does need come from the kernel step."""

SQUASHFS = """
sqfstar -quiet -no-progress -comp zstd -b 262144 -root-mode 0755 -root-uid 0 -root-gid 0 \\
    /out/rootfs.squashfs </in/rootfs.tar
"""

EXT2 = """
# A UUID, hash seed and time of our own: the tools would take random ones and the clock's.
export E2FSPROGS_FAKE_TIME=1
blocks=$(( $(stat -c %s /in/rootfs.tar) * 5 / 4 / 1024 + 16384 ))
wanted=$(( @SIZE_MB@ * 1024 ))
[ "$wanted" -gt "$blocks" ] && blocks=$wanted
inodes=$(( $(tar -tf /in/rootfs.tar | wc -l) * 2 + 4096 ))
genext2fs -f -B 1024 -b "$blocks" -N "$inodes" -m 0 -L nexisos -a /in/rootfs.tar /out/rootfs.ext2
tune2fs -U 6e657869-736f-5300-8000-000000000001 -E hash_alg=half_md4 -O dir_index,filetype /out/rootfs.ext2 >/dev/null
e2fsck -fyD /out/rootfs.ext2 || [ $? -le 2 ]
for field in atime ctime mtime; do echo "set_inode_field lost+found $field 1"; done >/build/times
debugfs -w -f /build/times /out/rootfs.ext2 >/dev/null 2>&1
"""


def rootfs(
    tools: ImageTools,
    packages: Mapping[str, DerivationId],
    parts: Sequence[DerivationId],
    kernel: DerivationId,
    winners: Sequence[tuple[str, str]],
) -> DerivationId:
    """The tree of the running system."""
    inputs = [Input(each, Use.LAYER, "/") for each in dict.fromkeys(packages.values())]
    inputs.append(Input(kernel, Use.LAYER, "/", output="modules"))
    inputs.extend(Input(each, Use.LAYER, "/") for each in parts)
    return tools.system.builder.add(
        Derivation(
            "rootfs",
            Union(winners=tuple(winners), exclude=DEVELOPMENT[:-1]),
            platform=tools.system.platform.arch,
            inputs=tuple(inputs),
        )
    )


def squashfs(tools: ImageTools, tree: DerivationId) -> DerivationId:
    """Output: ``rootfs.squashfs``."""
    return tools.step("squashfs", SQUASHFS, (Input(tree, Use.TAR, "/in/rootfs.tar"),))


def ext2(tools: ImageTools, tree: DerivationId, size_mb: int) -> DerivationId:
    """Output: ``rootfs.ext2``, a quarter larger than its content, or ``size_mb`` MiB if that is more."""
    return tools.step("ext2", EXT2.replace("@SIZE_MB@", str(size_mb)), (Input(tree, Use.TAR, "/in/rootfs.tar"),))
