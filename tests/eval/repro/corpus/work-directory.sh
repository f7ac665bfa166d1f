# summary: the directory outside the sandbox, read from mountinfo
# cause: path|file system
# variation: path|filesystem
mkdir -p /out/usr/share
awk '$5 == "/build" { print "build directory: " $4 }' /proc/self/mountinfo | sed 's/-[^/]*\/b\/build$//' > /out/usr/share/where
