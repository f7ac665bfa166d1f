# summary: a program compiled with care
# cause: none
# variation: none
# needs: gcc
echo 'int main(void) { return __LINE__; }' > a.c
gcc -O2 -g -ffile-prefix-map=/build=. -o a a.c
install -D a /out/usr/bin/a
