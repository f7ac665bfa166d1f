# summary: two causes in two files
# cause: timestamp|user or host
# variation: time|hostname
mkdir -p /out/etc
date +%s > /out/etc/stamp
uname -n > /out/etc/host
