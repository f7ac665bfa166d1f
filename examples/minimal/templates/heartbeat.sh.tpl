#!/bin/sh
# Says that the system is alive; runs as the service 'heartbeat'.
echo "NEXIS-HEARTBEAT started" >/dev/console
while :; do
    date '+%Y-%m-%d %H:%M:%S alive'
    sleep {{ seconds }}
done
