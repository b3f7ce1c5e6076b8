# SPDX-License-Identifier: Apache-2.0

include $(sort $(wildcard $(BR2_EXTERNAL_IN_CAMERA_PATH)/package/*/*.mk))

# A kernel symbol whose dependency is missing is dropped without a word: compare
# what was asked for with what the kernel made of it, before hours of compiling.
define IN_CAMERA_CHECK_KCONFIG
	$(BR2_EXTERNAL_IN_CAMERA_PATH)/board/common/check-kconfig $(@D)/.config \
		$(call qstrip,$(BR2_LINUX_KERNEL_CUSTOM_CONFIG_FILE)) \
		$(call qstrip,$(BR2_LINUX_KERNEL_CONFIG_FRAGMENT_FILES))
endef
LINUX_POST_CONFIGURE_HOOKS += IN_CAMERA_CHECK_KCONFIG

# post-image.sh refuses a release kernel that has devices of tests.
define IN_CAMERA_KEEP_KCONFIG
	$(INSTALL) -D -m 0644 $(@D)/.config $(BINARIES_DIR)/kernel.config
endef
LINUX_POST_INSTALL_IMAGES_HOOKS += IN_CAMERA_KEEP_KCONFIG
