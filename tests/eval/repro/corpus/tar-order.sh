# summary: a tar archive in directory order
# cause: order
# variation: order
# needs: tar
mkdir -p data /out/usr/share
for i in alpha beta gamma delta epsilon zeta eta theta; do echo "$i" > "data/$i"; done
tar --mtime=@1 --owner=0 --group=0 --numeric-owner --mode=644 -cf /out/usr/share/data.tar data
