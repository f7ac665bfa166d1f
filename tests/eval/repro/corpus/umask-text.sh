# summary: modes of files listed in a manifest
# cause: permissions
# variation: umask
mkdir -p data /out/usr/share
echo 1 > data/file
stat -c '%a %n' data/file > /out/usr/share/manifest
