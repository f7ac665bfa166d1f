# summary: a directory listing that nobody sorted
# cause: order
# variation: order
mkdir -p parts /out/usr/share
for i in alpha beta gamma delta epsilon zeta eta theta; do echo "$i" > "parts/$i"; done
find parts -type f -exec cat {} + > /out/usr/share/all
