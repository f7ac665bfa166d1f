# Before the build: mark the version, so that 'busybox' says whose it is.
sed -i 's/^EXTRAVERSION =.*/EXTRAVERSION = -nexis/' Makefile
