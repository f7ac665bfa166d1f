# summary: byte code with the time of its source
# cause: timestamp
# variation: time
# needs: python3
mkdir -p /out/usr/lib/demo
echo 'VALUE = 1' > demo.py
env -u SOURCE_DATE_EPOCH python3 -c 'import py_compile; py_compile.compile("demo.py", "/out/usr/lib/demo/demo.pyc", invalidation_mode=py_compile.PycInvalidationMode.TIMESTAMP)'
