#!/bin/sh
export VIMRUNTIME=/usr/share/vim/vimfiles
