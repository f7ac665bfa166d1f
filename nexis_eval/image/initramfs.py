"""The first root file system: loads modules, finds the real root, and hands over to it."""

from __future__ import annotations

from nexis_eval.derivation import Derivation, Entry, Input, Union, Use
from nexis_eval.image.tools import ImageTools
from nexis_store.digest import DerivationId

MARKER = ".nexis-medium"
"""A file at the top of every boot medium, by which the initramfs and GRUB know it."""

INIT = f"""\
#!/usr/bin/sh
# Finds the root file system that the kernel command line names, mounts it, and starts it:
#   root=DEVICE                     a file system on a block device
#   nexis.image=PATH                a squashfs file on a boot medium, with a writable layer in memory over it
export PATH=/usr/bin:/usr/sbin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in /modules/*; do insmod "$module" 2>/dev/null; done

fail() {{
    echo "initramfs: $1"
    echo "initramfs: a shell for a look; 'reboot -f' ends it"
    exec sh </dev/console >/dev/console 2>&1
}}

root= image= flags=ro
for word in $(cat /proc/cmdline); do
    case "$word" in
    root=*) root=${{word#root=}} ;;
    nexis.image=*) image=${{word#nexis.image=}} ;;
    rw) flags=rw ;;
    esac
done

if [ -n "$root" ]; then
    tries=0
    while [ ! -b "$root" ]; do
        tries=$((tries + 1))
        [ "$tries" -gt 150 ] && fail "there is no block device $root"
        sleep 0.1
    done
    mount -o "$flags" "$root" /sysroot || fail "cannot mount $root"
elif [ -n "$image" ]; then
    tries=0 found=
    while [ -z "$found" ]; do
        for device in /sys/class/block/*; do
            device=/dev/${{device##*/}}
            case "$device" in /dev/loop* | /dev/ram*) continue ;; esac
            mount -t iso9660 -o ro "$device" /medium 2>/dev/null || continue
            if [ -e "/medium/{MARKER}" ] && [ -e "/medium$image" ]; then found=$device; break; fi
            umount /medium
        done
        [ -n "$found" ] && break
        tries=$((tries + 1))
        [ "$tries" -gt 150 ] && fail "no boot medium has $image"
        sleep 0.1
    done
    mount -t squashfs -o ro,loop "/medium$image" /lower || fail "cannot mount $image of $found"
    mount -t tmpfs -o mode=755 tmpfs /upper
    mkdir /upper/data /upper/work
    mount -t overlay -o lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work overlay /sysroot ||
        fail "cannot put a writable layer over $image"
else
    fail "the kernel command line has neither root= nor nexis.image="
fi
umount /sys /proc
mount --move /dev /sysroot/dev
exec switch_root /sysroot /sbin/init
fail "cannot start /sbin/init of the root file system"
"""

DIRECTORIES = ("dev", "proc", "sys", "sysroot", "medium", "lower", "upper", "run", "tmp", "usr/bin", "usr/sbin")


def initramfs(tools: ImageTools, kernel: DerivationId, busybox: DerivationId) -> DerivationId:
    """Output: ``initramfs.cpio.gz``."""
    system = tools.system
    skeleton = system.files(
        "initramfs-skeleton",
        (
            *(Entry(path) for path in DIRECTORIES),
            Entry("bin", target="usr/bin"),
            Entry("sbin", target="usr/sbin"),
            Entry("init", text=INIT, mode=0o755),
        ),
    )
    tree = system.builder.add(
        Derivation(
            "initramfs-tree",
            Union(exclude=("usr/share", "usr/include", "usr/lib", "linuxrc")),
            platform=system.platform.arch,
            inputs=(
                Input(skeleton, Use.LAYER, "/"),
                Input(busybox, Use.LAYER, "/"),
                Input(kernel, Use.LAYER, "/", output="early"),
            ),
        )
    )
    script = "\ngzip -n -9 </in/initramfs.cpio >/out/initramfs.cpio.gz\n"
    return tools.step("initramfs", script, (Input(tree, Use.CPIO, "/in/initramfs.cpio"),))
