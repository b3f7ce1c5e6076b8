#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# post-build.sh TARGET BOARD: what both images add to their root, once overlay and
# programs are in it. It needs VERSION, ROLLBACK, and KEYS, a folder of which it
# takes the public halves alone.
set -euo pipefail
umask 022
target=$1
common=$BR2_EXTERNAL_IN_CAMERA_PATH/board/common
. "$BR2_EXTERNAL_IN_CAMERA_PATH/board/$2/meta"
: "${VERSION:?}" "${ROLLBACK:?}" "${VARIANT:=buildroot}" "${KEYS:?}"
# It names files on a FAT file system, is compared by updates, and goes into JSON.
[[ $VERSION =~ ^[0-9]{1,6}\.[0-9]{1,6}\.[0-9]{1,6}(-[0-9a-z][0-9a-z.]{0,15})?$ && $ROLLBACK =~ ^[1-9][0-9]{0,17}$ ]] ||
	{ echo "post-build: version $VERSION is not semantic, or rollback number $ROLLBACK none" >&2; exit 1; }

# The loader orders by IMAGE_VERSION, where "~" begins what comes before a release:
# 1.2.0~rc.1 below 1.2.0, as semantic versions are ordered.
sed -e "s|@VERSION@|$VERSION|g" -e "s|@LOADERVERSION@|$(tr - '~' <<<"$VERSION")|g" -e "s|@VARIANT@|$VARIANT|g" -e "s|@BOARD@|$BOARD|g" "$common/os-release.in" >"$target/usr/lib/os-release"
ln -sfn ../usr/lib/os-release "$target/etc/os-release"

# What the running image says of itself, and whom it believes.
mkdir -p "$target/usr/lib/in-camera"
printf '{"version":"%s","rollback":%d,"board":"%s/%s","software":"in-camera"}\n' "$VERSION" "$ROLLBACK" "$BOARD" "$VARIANT" >"$target/usr/lib/in-camera/release.json"
for key in root.pub:root.pem bundle.pub:bundle.pem log.pub:log.pub db.crt:db.crt; do
	install -D -m 0644 "$KEYS/${key%:*}" "$target/usr/share/in-camera/${key#*:}"
done

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
