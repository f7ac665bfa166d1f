# summary: a date from SOURCE_DATE_EPOCH
# cause: none
# variation: none
# needs: gcc
mkdir -p /out/usr/share
LC_ALL=C TZ=UTC date -d "@$SOURCE_DATE_EPOCH" > /out/usr/share/released
echo 'int main(void) { return __TIME__[0]; }' > a.c
gcc -o a a.c
install -D a /out/usr/bin/a
