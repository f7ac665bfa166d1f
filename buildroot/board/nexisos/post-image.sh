#!/bin/sh
# Buildroot calls this with the images' directory and the architecture, after it has made the images. The kernel gets
# the one name that images of NexisOS use, and a script to boot it lies beside it.
set -eu
images=$1
arch=$2
[ ! -e "$images/Image" ] || cp "$images/Image" "$images/bzImage"

case $arch in
x86_64) machine='-machine q35' console=ttyS0 ;;
aarch64) machine='-machine virt -cpu cortex-a57' console=ttyAMA0 ;;
riscv64) machine='-machine virt' console=ttyS0 ;;
*)
    echo "post-image.sh: unknown architecture '$arch'" >&2
    exit 1
    ;;
esac
cat >"$images/run-qemu.sh" <<END
#!/bin/sh
# Boots the kernel beside this script with rootfs.ext2 as its disk, on this terminal (Ctrl-A X leaves).
set -eu
here=\$(CDPATH='' cd -- "\$(dirname -- "\$0")" && pwd)
exec qemu-system-$arch $machine -accel tcg -m 512 -nographic -no-reboot -nic user,model=virtio-net-pci \\
    -kernel "\$here/bzImage" -append 'console=$console,115200 root=/dev/vda rw' \\
    -drive "if=virtio,format=raw,snapshot=on,file=\$here/rootfs.ext2" "\$@"
END
chmod 755 "$images/run-qemu.sh"
