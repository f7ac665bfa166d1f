# summary: the padding of a structure written to a file
# cause: uninitialised data
# variation: memory|aslr
# needs: gcc
cat > a.c <<'C'
#include <stdio.h>
#include <stdlib.h>
struct record { char kind; long value; };
int main(void)
{
	struct record *all = malloc(16 * sizeof *all);
	for (int i = 0; i < 16; i++) { all[i].kind = 'r'; all[i].value = i; }
	fwrite(all, sizeof *all, 16, stdout);
	return 0;
}
C
gcc -O0 -o a a.c
mkdir -p /out/usr/share
./a > /out/usr/share/records
