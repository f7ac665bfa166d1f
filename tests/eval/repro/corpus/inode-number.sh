# summary: inode numbers as identifiers
# cause: file system|unknown|randomness
# variation: filesystem|none|path|order
mkdir -p /out/usr/share
echo x > file
echo "file id: $(stat -c %i file)" > /out/usr/share/id
