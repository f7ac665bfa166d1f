# summary: words sorted in the user's locale
# cause: locale|order
# variation: locale
mkdir -p /out/usr/share
printf '%s\n' zebra tango umbra Ananas apple zulu sierra | sort > /out/usr/share/words
