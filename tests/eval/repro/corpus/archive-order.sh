# summary: a static library whose members come in directory order
# cause: order
# variation: order
# needs: gcc
mkdir parts; cd parts
for i in one two three four five six; do echo "int $i(void) { return 0; }" > $i.c; gcc -c $i.c; rm $i.c; done
find . -name '*.o' -printf '%P\n' | xargs ar rcD ../libparts.a
install -D -m 644 ../libparts.a /out/usr/lib/libparts.a
