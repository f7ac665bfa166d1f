# summary: a 32-bit time in a binary header
# cause: timestamp
# variation: time
# needs: python3
mkdir -p /out/usr/lib
python3 -c '
import struct, time
open("/out/usr/lib/blob.bin", "wb").write(b"BLOB\0\1\0\0" + struct.pack("<II", int(time.time()), 7) + bytes(64))'
