# summary: archives made with care
# cause: none
# variation: none
# needs: tar gzip
mkdir -p data /out/usr/share
for i in 3 1 2; do echo "$i" > "data/$i"; done
tar --sort=name --mtime=@"$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --mode=644 -c data | gzip -n > /out/usr/share/data.tar.gz
