# summary: the name of a temporary directory in a program
# cause: path
# variation: random|none
# needs: gcc
work=$(mktemp -d)
echo 'const char *file = __FILE__; int main(void) { return !file; }' > "$work/a.c"
gcc -O0 -o a "$work/a.c"
install -D a /out/usr/bin/a
