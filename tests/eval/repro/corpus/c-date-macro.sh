# summary: __DATE__ and __TIME__ in a program, with SOURCE_DATE_EPOCH unset
# cause: timestamp
# variation: time|timezone
# needs: gcc
unset SOURCE_DATE_EPOCH
cat > a.c <<'C'
#include <stdio.h>
int main(void) { puts("built on " __DATE__ " at " __TIME__); return 0; }
C
gcc -O2 -o a a.c
install -D a /out/usr/bin/a
