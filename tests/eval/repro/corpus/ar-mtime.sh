# summary: a static library made with ar U
# cause: timestamp|user or host
# variation: time|user
# needs: gcc
echo 'int f(void) { return 1; }' > f.c
gcc -c f.c
chmod 644 f.o
ar rcU libf.a f.o
install -D -m 644 libf.a /out/usr/lib/libf.a
