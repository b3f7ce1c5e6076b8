#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# post-build.sh TARGET BOARD: what both images add to their root, once overlay and
# programs are in it. It needs VERSION, and KEYS, a folder of which it takes the
# public half of the root key.
set -euo pipefail
target=$1
common=$BR2_EXTERNAL_IN_CAMERA_PATH/board/common
. "$BR2_EXTERNAL_IN_CAMERA_PATH/board/$2/meta"
: "${VERSION:?}" "${VARIANT:=buildroot}" "${KEYS:?}"

sed -e "s|@VERSION@|$VERSION|g" -e "s|@VARIANT@|$VARIANT|g" -e "s|@BOARD@|$BOARD|g" "$common/os-release.in" >"$target/usr/lib/os-release"
ln -sfn ../usr/lib/os-release "$target/etc/os-release"
install -D -m 0644 "$KEYS/root.pub" "$target/usr/share/in-camera/root.pem"

# etc is part of the image: what would be written there lives in run.
: >"$target/etc/machine-id"
ln -sfn /run/systemd/resolve/stub-resolv.conf "$target/etc/resolv.conf"
ln -sfn /proc/self/mounts "$target/etc/mtab"

# The root can be nothing but read-only, and there is nobody to log in.
for unit in systemd-remount-fs getty-static; do
	ln -sfn /dev/null "$target/etc/systemd/system/$unit.service"
done

# var comes from the encrypted partition, and is empty here.
rm -rf "$target/var"
mkdir -m 0755 "$target/var"
