#!/bin/sh
rm -rf "$DESTDIR/usr/share/vim/tutor"
