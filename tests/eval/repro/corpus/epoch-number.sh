# summary: seconds since the epoch in a header file
# cause: timestamp
# variation: time
mkdir -p /out/usr/include
echo "#define BUILD_STAMP $(date +%s)" > /out/usr/include/stamp.h
