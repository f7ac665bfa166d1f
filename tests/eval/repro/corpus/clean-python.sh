# summary: sorted sets and listings
# cause: none
# variation: none
# needs: python3
mkdir -p plugins /out/usr/share
for i in a b c d; do : > plugins/$i; done
python3 -c 'import os; print(sorted(os.listdir("plugins")), sorted({"x", "y", "z"}))' > /out/usr/share/table
