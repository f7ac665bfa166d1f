#!/bin/sh
# A child of a child that would live on.
sh -c "sleep 100005; :" &
sleep 100006
