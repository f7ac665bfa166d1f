# summary: an archive written by hand with the mtime of its members
# cause: timestamp
# variation: time
# needs: python3
mkdir -p /out/boot
echo init > init
python3 -c '
import os
name, data, status = b"init\0", open("init","rb").read(), os.stat("init")
def record(name, data, mode, mtime):
    head = b"070701" + b"".join(b"%08x" % each for each in (0, mode, 0, 0, 1, mtime, len(data), 0, 0, 0, 0, len(name), 0))
    out = head + name
    out += bytes(-len(out) % 4) + data
    return out + bytes(-len(out) % 4)
with open("/out/boot/initrd", "wb") as out:
    out.write(record(name, data, 0o100755, int(status.st_mtime)))
    out.write(record(b"TRAILER!!!\0", b"", 0, 0))'
