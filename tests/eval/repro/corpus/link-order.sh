# summary: objects linked in directory order
# cause: order
# variation: order
# needs: gcc
mkdir parts
for i in one two three four five six; do echo "int $i(void) { return (int)sizeof \"$i\"; }" > parts/$i.c; done
find parts -name '*.c' | xargs gcc -shared -fPIC -O0 -o libparts.so
install -D libparts.so /out/usr/lib/libparts.so
