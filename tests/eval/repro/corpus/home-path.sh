# summary: the home directory in a default configuration
# cause: path
# variation: home
mkdir -p /out/etc
echo "cache = $HOME/.cache/demo" > /out/etc/demo.conf
