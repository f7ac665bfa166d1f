# summary: gzip keeps the name and time of its input
# cause: timestamp
# variation: time
# needs: gzip
mkdir -p /out/usr/share/man/man1
echo ".TH demo 1" > demo.1
gzip -N demo.1
cp demo.1.gz /out/usr/share/man/man1/
