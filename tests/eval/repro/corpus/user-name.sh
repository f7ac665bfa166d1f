# summary: the builder's name in a program
# cause: user or host
# variation: user
# needs: gcc
echo "const char *by = \"compiled by $(id -un 2>/dev/null || echo "${USER}")\"; int main(void) { return !by; }" > a.c
gcc -O0 -o a a.c
install -D a /out/usr/bin/a
