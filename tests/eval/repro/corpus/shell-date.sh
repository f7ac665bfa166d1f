# summary: the output of date in a text
# cause: timestamp
# variation: time
mkdir -p /out/usr/share
{ echo "name: demo"; echo "built: $(LC_ALL=C date -u)"; } > /out/usr/share/info
