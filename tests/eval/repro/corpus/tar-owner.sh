# summary: a tar archive with the builder's ids
# cause: user or host
# variation: user
# needs: tar
mkdir -p data /out/usr/share
echo 1 > data/1
tar --sort=name --mtime=@1 --mode=644 --numeric-owner -cf /out/usr/share/data.tar data
