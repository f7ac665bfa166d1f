# The root file system as squashfs, from a tar stream that has owners, modes and labels (/in/rootfs.tar).
set -euo pipefail
sqfstar -quiet -no-progress -comp zstd -root-mode 0755 -root-uid 0 -root-gid 0 /out/root.squashfs </in/rootfs.tar
