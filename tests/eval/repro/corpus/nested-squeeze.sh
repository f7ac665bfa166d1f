# summary: a time stamp in a text in a tar in a gzip
# cause: timestamp
# variation: time
# needs: tar gzip
mkdir -p data /out/usr/share
echo "generated $(date -u +%FT%TZ)" > data/readme
tar --sort=name --mtime=@1 --owner=0 --group=0 --numeric-owner --mode=644 -c data | gzip -n > /out/usr/share/data.tar.gz
