# summary: the name of the time zone
# cause: timestamp
# variation: timezone
mkdir -p /out/usr/share
echo "zone: $(date -d @0 +%Z)" > /out/usr/share/zone
