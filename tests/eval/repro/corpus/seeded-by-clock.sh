# summary: numbers from a generator seeded with the time
# cause: randomness|timestamp
# variation: time
# needs: gcc
cat > a.c <<'C'
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
int main(void) { srand((unsigned)time(NULL)); printf("%d %d %d\n", rand() % 97, rand() % 89, rand() % 83); return 0; }
C
gcc -o a a.c
mkdir -p /out/usr/share
./a > /out/usr/share/numbers
