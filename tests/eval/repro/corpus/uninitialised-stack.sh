# summary: a stack buffer written whole though filled in part
# cause: uninitialised data|memory addresses
# variation: memory|aslr
# needs: gcc
cat > a.c <<'C'
#include <stdio.h>
#include <string.h>
int main(void)
{
	char name[2048];
	strcpy(name, "short");
	fwrite(name, sizeof name, 1, stdout);
	return 0;
}
C
gcc -O0 -fno-stack-protector -o a a.c 2>/dev/null
mkdir -p /out/usr/share
./a > /out/usr/share/name
