# summary: a local time derived from SOURCE_DATE_EPOCH
# cause: timestamp
# variation: timezone
mkdir -p /out/usr/share
date -d "@1700000000" "+%Y-%m-%d %H:%M:%S" > /out/usr/share/released
