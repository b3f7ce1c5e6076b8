#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# post-image.sh BINARIES BOARD: from the root and the kernel to a disk. In BINARIES
# lie Image and its kernel.config, loader.efi and stub.efi; in HOST_DIR/bin our
# mkbundle and initramfs. It needs VERSION, ROLLBACK, and KEYS, a folder as
# "mkbundle keys" makes it. With FLOOR rooms raise their floor to that number once
# the release has proven itself there. Where sbsign, faketime or the UEFI key is
# not at hand the UKI stays unsigned, and there is no disk: signing is a step of its own.
# DISK=no makes none either; ZSTD_LEVEL makes the root in less time and larger.
set -euo pipefail
umask 022
out=$1
common=$BR2_EXTERNAL_IN_CAMERA_PATH/board/common
. "$BR2_EXTERNAL_IN_CAMERA_PATH/board/$2/meta"
: "${VERSION:?}" "${ROLLBACK:?}" "${KEYS:?}" "${SOURCE_DATE_EPOCH:?}"
export TZ=UTC PATH=$HOST_DIR/bin:$HOST_DIR/sbin:$PATH:/usr/sbin
cd "$out"

# A release boots no kernel with drivers that only tests want.
if [ -z "${TEST_KERNEL:-}" ] && grep -Fxf <(grep '^CONFIG' "$common/linux/test.config") kernel.config; then
	echo "post-image: the kernel has these lines of test.config" >&2
	exit 1
fi

# The root and its hash tree. The salt is fixed: it keeps hashes of two products
# apart and hides nothing. The UUID is not under the root hash; with the first
# half of it there, init finds the partition that belongs to the UKI.
# What starts before anybody knows the time takes that of clock-epoch.
rm -f system.img
: >"$TARGET_DIR/usr/lib/clock-epoch" # first: a new file gives its folder a new time
find "$TARGET_DIR" -exec touch -hcd "@$SOURCE_DATE_EPOCH" {} +
touch -d "@${CLOCK_EPOCH:-$SOURCE_DATE_EPOCH}" "$TARGET_DIR/usr/lib/clock-epoch"
env -u SOURCE_DATE_EPOCH mksquashfs "$TARGET_DIR" system.img -quiet -no-progress -noappend -comp zstd -Xcompression-level "${ZSTD_LEVEL:-15}" -b 256K -processors 2 \
	-all-root -no-xattrs -no-exports -mkfs-time 0 -root-mode 0755 >/dev/null
size=$(stat -c %s system.img)
hashoff=$(((size + 4095) / 4096 * 4096))
truncate -s "$hashoff" system.img
roothash=$(veritysetup format --hash-offset="$hashoff" --salt=496e2043616d657261 --uuid=00000000-0000-0000-0000-000000000000 \
	--hash=sha256 --data-block-size=4096 --hash-block-size=4096 --data-blocks=$((hashoff / 4096)) system.img system.img |
	sed -n 's/^Root hash:[[:space:]]*//p')
[[ $roothash =~ ^[0-9a-f]{64}$ ]]
printf "$(sed 's/../\\x&/g' <<<"${roothash:0:32}")" | dd of=system.img bs=1 seek=$((hashoff + 16)) conv=notrunc status=none
veritysetup verify --hash-offset="$hashoff" system.img system.img "$roothash"

sed -e "s|@CONSOLE@|$CONSOLE|" -e "s|@ROOTHASH@|$roothash|" -e "s|@HASHOFF@|$hashoff|" "$common/cmdline.in" >cmdline
cp "$TARGET_DIR/usr/lib/os-release" osrel
printf '{"version": "%s", "rollback": %d, "policy_key": 1, "root_generation": 1}\n' "$VERSION" "$ROLLBACK" >release.json
initramfs -out initrd "init=$TARGET_DIR/usr/lib/in-camera/init:755" etc/ etc/in-camera/ \
	"etc/in-camera/release.json=release.json:644" "etc/in-camera/root.pem=$KEYS/root.pub:644" \
	proc/ sys/ run/ newroot/ esp/

uki() { mkbundle uki -stub stub.efi -linux "$1" -initrd initrd -osrel osrel -cmdline cmdline ${DTB:+-dtb "$DTB"} -out "$2"; }
if [ ! -e "$KEYS/db.key" ] || ! command -v sbsign >/dev/null || ! command -v faketime >/dev/null; then
	uki Image uki.unsigned.efi
	echo "post-image: no key, sbsign or faketime: the UKI is unsigned, and there is no disk" >&2
	exit 0
fi
# A signature has the time in it: the commit's, so that two builds are equal.
sign() { faketime -f "$(date -u -d "@$SOURCE_DATE_EPOCH" '+%F %T')" sbsign --key "$KEYS/db.key" --cert "$KEYS/db.crt" --output "$2" "$1" 2>sbsign.log || { cat sbsign.log >&2; exit 1; }; }
sign Image Image.signed # U-Boot verifies it once more
uki Image.signed uki.unsigned.efi >uki.measured
sign uki.unsigned.efi uki.efi
sign loader.unsigned.efi loader.efi

mkbundle delegate -root-key "$KEYS/root.key" -policy "$KEYS/policy.pub" -policy-generation 1 -first -floor "${FLOOR:-0}" -out delegations >/dev/null
mkbundle policies -uki uki.efi -rollback "$ROLLBACK" -policy-key "$KEYS/policy.key" -policy-generation 1 \
	-root "$KEYS/root.pub" -delegations delegations -out policies.cbor >/dev/null
cp "$common/loader.conf" loader.conf
hook=$BR2_EXTERNAL_IN_CAMERA_PATH/board/$2/hook.sh
[ ! -e "$hook" ] || . "$hook"

if [ "${DISK:-}" != no ]; then
	export ESP_SIZE SYSTEM_SIZE DATA_SIZE VERSION
	rm -rf genimage.tmp && mkdir -p genimage.tmp/empty
	genimage --rootpath genimage.tmp/empty --tmppath genimage.tmp/work --inputpath . --outputpath . --config "$common/genimage.cfg" >genimage.log 2>&1 || { cat genimage.log >&2; exit 1; }
	rm -rf genimage.tmp
fi

limit() { # NAME FILE MiB
	local n
	n=$(stat -c %s "$2")
	awk -v name="$1" -v n="$n" -v max="$3" 'BEGIN { printf "%-8s %11d bytes  %5.1f MiB, at most %d\n", name, n, n/1048576, max; exit n > max*1048576 }' ||
		{ echo "post-image: too large" >&2; exit 1; }
}
limit root system.img 57 # 60 MB
limit UKI uki.efi 16
limit kernel Image 15
limit initrd initrd 3
[ "${DISK:-}" = no ] || printf '%-8s %11d bytes on disk of %d\n' image $(($(stat -c '%b * 512' disk.img))) "$(stat -c %s disk.img)"
echo "root hash $roothash"
