# summary: the date in a file's name
# cause: timestamp
# variation: time|timezone
mkdir -p /out/usr/share
echo data > "/out/usr/share/backup-$(date +%Y%m%d-%H%M%S).txt"
