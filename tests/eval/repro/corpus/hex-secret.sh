# summary: a token made by Python's secrets
# cause: randomness
# variation: random
# needs: python3
mkdir -p /out/etc
python3 -c 'import secrets; print("token:", secrets.token_hex(24))' > /out/etc/token
