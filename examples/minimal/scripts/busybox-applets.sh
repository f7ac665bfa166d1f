# After installing: leave a list of the applets for people and scripts to read.
mkdir -p "$OUT/usr/share/busybox"
sed 's,.*/,,' busybox.links | LC_ALL=C sort >"$OUT/usr/share/busybox/applets"
