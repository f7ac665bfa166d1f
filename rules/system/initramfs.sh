# The initramfs: busybox (/in/busybox), kernel modules (/in/modules) and the init script (/in/init) as a cpio archive.
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
find $root -exec touch -hd @1 {} +
cd $root
find . -mindepth 1 | LC_ALL=C sort | cpio --quiet -o -H newc --reproducible --owner=+0:+0 | gzip -9n >/out/initramfs
