# summary: parallel jobs with a file each
# cause: none
# variation: none
mkdir -p parts /out/usr/share
seq 1 8 | xargs -P 4 -I{} sh -c 'echo part {} > parts/{}'
cat parts/1 parts/2 parts/3 parts/4 parts/5 parts/6 parts/7 parts/8 > /out/usr/share/all
