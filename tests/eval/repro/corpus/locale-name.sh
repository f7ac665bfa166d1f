# summary: the locale's name in a configuration
# cause: locale
# variation: locale
mkdir -p /out/etc
echo "default_locale=$LC_ALL" > /out/etc/locale.conf
