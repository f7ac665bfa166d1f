# The initramfs: busybox (/in/busybox), kernel modules (/in/modules) and the init script (/in/init) as a cpio archive.
# In front of it, as an archive of its own that is not compressed, the place for what is not in the store: the file
# SECRETS of SECRETS_BYTES bytes, which begins with a mark (/in/init/SECRETS). Kernels unpack any number of archives.
set -euo pipefail
root=/build/root
mkdir -p $root/usr $root/dev $root/etc
if [ ! -e /in/busybox/usr/bin/busybox ]; then
    echo "error: the package busybox has no usr/bin/busybox" >&2
    exit 1
fi
if ! file -bL /in/busybox/usr/bin/busybox | grep -q 'static'; then
    echo "error: the busybox of the initramfs must be linked statically: set CONFIG_STATIC=y" >&2
    exit 1
fi
mkdir $root/bin
cp /in/busybox/usr/bin/busybox $root/bin/busybox
find /in/busybox -type l -lname '*busybox' -printf '%f\n' | while read -r applet; do
    ln -sf busybox "$root/bin/$applet"
done
for each in sh mount modprobe switch_root; do
    if [ ! -e "$root/bin/$each" ]; then
        echo "error: the package busybox installs no link for '$each', which the initramfs needs" >&2
        exit 1
    fi
done
cp /in/init/init $root/init
cp -r /in/modules/. $root
ln -s usr/lib $root/lib
ln -s bin $root/sbin
chmod -R u=rwX,go=rX $root
chmod 755 $root/init $root/bin/busybox
place=/build/place
mkdir $place
mark=/in/init/$SECRETS
{
    cat "$mark"
    head -c $((SECRETS_BYTES - $(stat -c %s "$mark"))) /dev/zero | tr '\0' '\n'
} >"$place/$SECRETS"
chmod 600 "$place/$SECRETS"
find $root $place -exec touch -hd @1 {} +

archive() { # archive DIRECTORY
    cd "$1"
    find . -mindepth 1 | LC_ALL=C sort | cpio --quiet -o -H newc --reproducible --owner=+0:+0
}

(archive $place) >/out/initramfs
(archive $root) | gzip -9n >>/out/initramfs
