#!/bin/sh
sleep 100007 &
echo $! >/run/background.pid
