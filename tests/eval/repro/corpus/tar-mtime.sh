# summary: a tar archive with the times of freshly made files
# cause: timestamp
# variation: time
# needs: tar
mkdir -p data /out/usr/share
for i in 1 2 3; do echo "$i" > "data/$i"; done
tar --sort=name --owner=0 --group=0 --numeric-owner --mode=644 -cf /out/usr/share/data.tar data
