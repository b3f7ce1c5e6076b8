################################################################################
#
# in-camera-efi
#
################################################################################

# SPDX-License-Identifier: Apache-2.0

# Version and hash are those of debian/packages.lock, which a test compares.
IN_CAMERA_EFI_VERSION = 254.26-1~bpo12+1
IN_CAMERA_EFI_SOURCE = systemd-boot-efi_$(IN_CAMERA_EFI_VERSION)_arm64.deb
IN_CAMERA_EFI_SITE = http://deb.debian.org/debian/pool/main/s/systemd
IN_CAMERA_EFI_LICENSE = LGPL-2.1+
IN_CAMERA_EFI_LICENSE_FILES = usr/share/doc/systemd-boot-efi/copyright
IN_CAMERA_EFI_INSTALL_TARGET = NO
IN_CAMERA_EFI_INSTALL_IMAGES = YES

define IN_CAMERA_EFI_EXTRACT_CMDS
	ar p $(IN_CAMERA_EFI_DL_DIR)/$(IN_CAMERA_EFI_SOURCE) data.tar.xz | tar -xJ -C $(@D)
endef

define IN_CAMERA_EFI_INSTALL_IMAGES_CMDS
	$(INSTALL) -D -m 0644 $(@D)/usr/lib/systemd/boot/efi/systemd-bootaa64.efi $(BINARIES_DIR)/loader.unsigned.efi
	$(INSTALL) -D -m 0644 $(@D)/usr/lib/systemd/boot/efi/linuxaa64.efi.stub $(BINARIES_DIR)/stub.efi
endef

$(eval $(generic-package))
