# summary: a zip archive with the times of freshly made files
# cause: timestamp
# variation: time|timezone
# needs: python3
mkdir -p /out/usr/share
echo hello > hello.txt; chmod 644 hello.txt
python3 -c '
import zipfile
with zipfile.ZipFile("/out/usr/share/hello.zip", "w") as archive: archive.write("hello.txt")'
