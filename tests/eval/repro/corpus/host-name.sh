# summary: the machine's name in a banner
# cause: user or host
# variation: hostname
mkdir -p /out/etc
echo "built on $(uname -n)" > /out/etc/banner
