# summary: a fresh UUID in a configuration file
# cause: randomness
# variation: random
mkdir -p /out/etc
echo "machine-uuid = $(cat /proc/sys/kernel/random/uuid)" > /out/etc/uuid
