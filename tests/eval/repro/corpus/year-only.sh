# summary: a copyright year taken from the clock
# cause: timestamp
# variation: time
mkdir -p /out/usr/share/doc
echo "Copyright $(date +%Y-%m-%d) the authors" > /out/usr/share/doc/copyright
