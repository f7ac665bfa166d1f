# summary: os.listdir in a generated table
# cause: order
# variation: order
# needs: python3
mkdir -p plugins /out/usr/share
for i in a b c d e f g h i j; do : > "plugins/$i.py"; done
python3 -c 'import os; print("plugins =", ", ".join(os.listdir("plugins")))' > /out/usr/share/plugins
