# summary: a tar archive with modes made by the umask
# cause: permissions
# variation: umask
# needs: tar
mkdir -p data /out/usr/share
echo 1 > data/1
tar --sort=name --mtime=@1 --owner=0 --group=0 --numeric-owner -cf /out/usr/share/data.tar data
