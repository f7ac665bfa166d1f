# summary: the compilation directory in debug information
# cause: path
# variation: random|none
# needs: gcc
work=$(mktemp -d /build/compile.XXXXXXXX)
cd "$work"
echo 'int main(void) { return 0; }' > a.c
gcc -g -o a a.c
install -D a /out/usr/bin/a
