# summary: $RANDOM as a session key
# cause: randomness
# variation: random|time|aslr|user
mkdir -p /out/etc
echo "key = $RANDOM$RANDOM$RANDOM" > /out/etc/key
