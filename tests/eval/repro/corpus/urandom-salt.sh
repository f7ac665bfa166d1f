# summary: a salt from /dev/urandom
# cause: randomness
# variation: random
mkdir -p /out/etc
head -c 32 /dev/urandom > /out/etc/salt
