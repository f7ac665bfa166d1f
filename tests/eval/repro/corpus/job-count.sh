# summary: the number of jobs decides how a table is split
# cause: processors
# variation: cpus
mkdir -p /out/usr/share
seq 1 120 > all
split -n "l/$NEXIS_JOBS" -d all /out/usr/share/part-
