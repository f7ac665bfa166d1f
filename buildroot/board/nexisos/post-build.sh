#!/bin/sh
# Buildroot calls this with the root file system's directory and the architecture, before it makes the images.
set -eu
target=$1
version=$(sed -n 's/^BR2_NEXISOS_VERSION="\(.*\)"$/\1/p' "$BR2_CONFIG")
rm -f "$target/etc/os-release"
cat >"$target/usr/lib/os-release" <<END
NAME="NexisOS"
ID="nexisos"
VERSION="$version"
VERSION_ID="$version"
PRETTY_NAME="NexisOS $version"
END
ln -s ../usr/lib/os-release "$target/etc/os-release"
