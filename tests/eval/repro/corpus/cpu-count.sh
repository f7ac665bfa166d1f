# summary: the number of processors in a default configuration
# cause: processors
# variation: cpus
mkdir -p /out/etc
echo "workers = $(nproc)" > /out/etc/workers
