# summary: parallel jobs that append to one file as they finish
# cause: order
# variation: cpus|none|random
# needs: python3
mkdir -p /out/usr/share
export -f 2>/dev/null || true
for i in 1 2 3 4 5 6 7 8; do echo "$i"; done |
  xargs -P 8 -I{} python3 -c 'import os, time; time.sleep(os.urandom(1)[0] / 1000); open("/out/usr/share/log", "a").write("job {} done\n")'
