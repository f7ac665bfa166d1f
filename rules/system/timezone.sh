# The time zone TIMEZONE as /etc/localtime.
set -euo pipefail
mkdir -p /out/etc
if [ ! -f "/usr/share/zoneinfo/$TIMEZONE" ]; then
    echo "error: the time zone database has no '$TIMEZONE'" >&2
    exit 1
fi
cp -L "/usr/share/zoneinfo/$TIMEZONE" /out/etc/localtime
