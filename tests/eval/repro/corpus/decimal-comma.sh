# summary: a number printed in the user's locale
# cause: locale
# variation: locale
mkdir -p /out/usr/share
printf 'ratio: %.2f\n' "$(LC_ALL=C awk 'BEGIN{print 5}')" > /out/usr/share/ratio
