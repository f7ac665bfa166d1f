"""The kernel of a system: its image, the modules that find the root file system, and those of the running system."""

from __future__ import annotations

from nexis_eval.derivation import Input, Use
from nexis_eval.image.tools import ImageTools
from nexis_store.digest import DerivationId

EARLY_MODULES = (
    "virtio_pci virtio_mmio virtio_blk virtio_scsi ata_piix ahci sd_mod sr_mod nvme usb_storage uas xhci_pci ehci_pci "
    "cdrom isofs loop squashfs overlay ext4 crc32c_generic"
)
"""What may be needed before the root file system is there. A kernel that has one built in, or not at all, is fine."""

SYSTEM_MODULES = (
    "virtio_net virtio_rng virtio_console e1000 e1000e igb r8169 af_packet ipv6 "
    "nf_tables nft_ct nft_reject_inet nft_masq nf_conntrack iptable_filter ip6table_filter tun bridge dummy vfat "
    "nls_cp437 nls_ascii fuse efivarfs dm_mod"
)

SCRIPT = """
kernel=/in/kernel
image=$(find "$kernel/boot" -name 'vmlinuz-*' -o -name 'vmlinux-*' | sort | head -n 1)
if [ -z "$image" ]; then
    echo "nexis: the kernel package has no boot/vmlinuz-* or boot/vmlinux-*" >&2
    exit 1
fi
release=${image##*/vmlinu[xz]-}
mkdir -p /out/out /out/early /out/modules
cp "$image" /out/out/bzImage
echo "$release" >/out/out/release

modules=$kernel/usr/lib/modules
[ -d "$modules/$release" ] || exit 0
index=/build/root/lib/modules/$release
mkdir -p "$index"
for each in "$modules/$release"/*; do ln -s "$each" "$index/"; done
depmod -b /build/root "$release"

# file_of NAME: the path of a module below the release's directory; nothing when it is built in or unknown.
file_of() {
    local pattern=${1//_/[-_]}
    sed -n "s,^\\([^:]*/$pattern\\.ko[.a-z]*\\):.*,\\1,p" "$index/modules.dep" | head -n 1
}
# closure NAME...: the files of the modules and of all they need, needed ones first, each once.
closure() {
    local name file
    for name in "$@"; do
        file=$(file_of "$name")
        [ -n "$file" ] || continue
        # modules.dep lists what a module needs so that the last must be loaded first.
        sed -n "s,^$file:,,p" "$index/modules.dep" | tr ' ' '\\n' | grep . | tac || true
        echo "$file"
    done | awk '!seen[$0]++'
}
# take FILE DIRECTORY: copy a module, uncompressed: image formats compress better, and busybox can load it.
take() {
    local plain=$2/${1%.xz}
    mkdir -p "${plain%/*}"
    case "$1" in
    *.xz) xz -dc "$modules/$release/$1" >"$plain" ;;
    *) cp "$modules/$release/$1" "$plain" ;;
    esac
}

mkdir -p /out/early/modules
number=100
for file in $(closure @EARLY@); do
    take "$file" /build/early
    plain=${file%.xz}
    cp "/build/early/$plain" "/out/early/modules/$number-${plain##*/}"
    number=$((number + 1))
done

target=/out/modules/usr/lib/modules/$release
mkdir -p "$target"
for file in $(if [ '@ALL@' = 1 ]; then sed 's/:.*//' "$index/modules.dep"; else closure @EARLY@ @SYSTEM@; fi); do
    take "$file" "$target"
done
for list in modules.builtin modules.builtin.modinfo modules.order; do
    [ -e "$modules/$release/$list" ] && cp "$modules/$release/$list" "$target/"
done
mkdir -p /build/final/lib
ln -s /out/modules/usr/lib/modules /build/final/lib/modules
depmod -b /build/final "$release"
rm -f "$target"/*.bin
"""


def kernel(tools: ImageTools, package: DerivationId, extra_modules: tuple[str, ...]) -> DerivationId:
    """Outputs: ``out`` (``bzImage``, ``release``), ``early`` (``modules/``, in loading order), ``modules`` (a tree)."""
    script = (
        SCRIPT.replace("@EARLY@", EARLY_MODULES)
        .replace("@SYSTEM@", " ".join((SYSTEM_MODULES, *(name for name in extra_modules if name != "*"))))
        .replace("@ALL@", "1" if "*" in extra_modules else "0")
    )
    inputs = (Input(package, Use.BIND, "/in/kernel"),)
    return tools.step("kernel", script, inputs, outputs=("out", "early", "modules"))
