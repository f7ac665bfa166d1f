# summary: a date taken from the clock (in another time zone it may be another day)
# cause: timestamp
# variation: time|timezone
mkdir -p /out/usr/share/doc
echo "Copyright $(date +%Y-%m-%d) the authors" > /out/usr/share/doc/copyright
