# summary: the whole environment kept for later
# cause: environment
# variation: environment
mkdir -p /out/usr/share
env | grep -E '^NEXIS_|^SOURCE' | grep -v NEXIS_JOBS | LC_ALL=C sort > /out/usr/share/environment
