# summary: a pointer printed into a table
# cause: memory addresses
# variation: aslr
# needs: gcc
cat > a.c <<'C'
#include <stdio.h>
int main(void) { printf("handler %p\n", (void *)main); return 0; }
C
gcc -O0 -o a a.c
mkdir -p /out/usr/share
./a > /out/usr/share/handlers
