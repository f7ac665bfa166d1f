# summary: files whose modes differ by umask only, which landing makes equal
# cause: none
# variation: none
mkdir -p /out/usr/share /out/usr/bin
echo data > /out/usr/share/data
printf '#!/bin/sh\n' > /out/usr/bin/tool
chmod +x /out/usr/bin/tool
