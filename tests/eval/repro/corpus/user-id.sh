# summary: the numeric user id in a text
# cause: user or host
# variation: user
mkdir -p /out/usr/share
echo "owner = $(id -u):$(id -g)" > /out/usr/share/owner
