// SPDX-License-Identifier: Apache-2.0

package buildroot

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestOneTree checks that every defconfig takes the same files, that they are
// there, and that boards differ in nothing but processor, device tree and boot
// chain.
func TestOneTree(t *testing.T) {
	const tree = "$(BR2_EXTERNAL_IN_CAMERA_PATH)/"
	want := map[string]string{
		"BR2_ROOTFS_OVERLAY":                  tree + overlay,
		"BR2_ROOTFS_USERS_TABLES":             tree + "board/common/users.table",
		"BR2_ROOTFS_DEVICE_TABLE":             "system/device_table.txt " + tree + "board/common/perms.table",
		"BR2_ROOTFS_POST_BUILD_SCRIPT":        tree + "board/common/post-build.sh",
		"BR2_ROOTFS_POST_IMAGE_SCRIPT":        tree + "board/common/post-image.sh",
		"BR2_LINUX_KERNEL_CUSTOM_CONFIG_FILE": tree + "board/common/linux/base.config",
	}
	mayDiffer := regexp.MustCompile(`^BR2_(cortex_\w+|LINUX_KERNEL_(DTS_SUPPORT|INTREE_DTS_NAME)|TARGET_(UBOOT|ARM_TRUSTED_FIRMWARE|OPTEE_OS)\w*|PACKAGE_(RPI_FIRMWARE|FIRMWARE_IMX|ROCKCHIP_RKBIN)\w*)$`)
	var first map[string]string
	for board, config := range boards {
		symbols := defconfig(t, config)
		for name, value := range want {
			if got := strings.Trim(symbols[name], `"`); got != value {
				t.Errorf("%s: %s is %q; want %q", config, name, got, value)
			}
		}
		if got, want := strings.Trim(symbols["BR2_ROOTFS_POST_SCRIPT_ARGS"], `"`), board; got != want {
			t.Errorf("%s: the scripts are told that the board is %q; want %q", config, got, want)
		}
		fragments := strings.Fields(strings.Trim(symbols["BR2_LINUX_KERNEL_CONFIG_FRAGMENT_FILES"], `"`))
		if !slices.Equal(fragments, []string{tree + "board/common/linux/hardening.config", tree + "board/" + board + "/linux.config"}) {
			t.Errorf("%s: the kernel has the fragments %v", config, fragments)
		}
		for name, value := range symbols {
			for _, path := range strings.Fields(strings.Trim(value, `"`)) {
				if path, ok := strings.CutPrefix(path, tree); ok && !strings.HasPrefix(path, "../out/") {
					if _, err := os.Stat(path); err != nil {
						t.Errorf("%s: %s: %v", config, name, err)
					}
				}
			}
			if _, uboot := symbols["BR2_TARGET_UBOOT"]; uboot != (board != "qemu-arm64") {
				t.Errorf("%s: U-Boot is %v", config, uboot)
			}
		}
		maps.DeleteFunc(symbols, func(name, _ string) bool {
			return mayDiffer.MatchString(name) || name == "BR2_ROOTFS_POST_SCRIPT_ARGS" || name == "BR2_LINUX_KERNEL_CONFIG_FRAGMENT_FILES"
		})
		if first == nil {
			first = symbols
		}
		if !maps.Equal(first, symbols) {
			t.Errorf("%s differs from another board's configuration in more than its hardware", config)
		}
	}
}

// TestEFI checks that boards start with the loader and stub of the CI image.
func TestEFI(t *testing.T) {
	var version, hash string
	for _, line := range lines(t, "debian/packages.lock") {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "systemd-boot-efi" {
			version, hash = f[1], f[2]
		}
	}
	if version == "" {
		t.Fatal("packages.lock has no systemd-boot-efi")
	}
	if !strings.Contains(read(t, "package/in-camera-efi/in-camera-efi.mk"), "\nIN_CAMERA_EFI_VERSION = "+version+"\n") {
		t.Errorf("in-camera-efi is not of version %s", version)
	}
	want := "sha256  " + hash + "  systemd-boot-efi_" + version + "_arm64.deb"
	if got := lines(t, "package/in-camera-efi/in-camera-efi.hash"); !slices.Equal(got, []string{want}) {
		t.Errorf("in-camera-efi has the hashes %q; want %q", got, want)
	}
}
