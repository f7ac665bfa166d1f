# summary: a Python set written without sorting
# cause: order
# variation: random
# needs: python3
mkdir -p /out/usr/share
python3 -c 'print("\n".join({"alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta"}))' > /out/usr/share/names
