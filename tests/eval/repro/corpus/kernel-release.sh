# summary: the running kernel's release in a header
# cause: kernel
# variation: kernel
mkdir -p /out/usr/include
echo "#define KERNEL \"$(uname -r)\"" > /out/usr/include/kernel.h
