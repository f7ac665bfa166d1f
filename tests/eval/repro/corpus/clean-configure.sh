# summary: probing the compiler as configure does
# cause: none
# variation: none
# needs: gcc
mkdir -p /out/usr/include
echo 'int main(void) { return sizeof(long) != 8; }' > conftest.c
if gcc -o conftest conftest.c && ./conftest; then echo '#define SIZEOF_LONG 8'; fi > /out/usr/include/config.h
