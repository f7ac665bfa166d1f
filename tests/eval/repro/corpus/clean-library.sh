# summary: a static library from sorted objects
# cause: none
# variation: none
# needs: gcc
for i in c a b; do echo "int $i(void) { return 0; }" > $i.c; gcc -c $i.c; done
ar rcD lib.a $(printf '%s\n' *.o | LC_ALL=C sort)
install -D -m 644 lib.a /out/usr/lib/lib.a
