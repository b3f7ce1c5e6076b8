################################################################################
#
# in-camera
#
################################################################################

# SPDX-License-Identifier: Apache-2.0

# package/in-camera/dist writes the tarball, with vendor/ inside, its version and
# its hash: a package that is taken from a folder is copied without its modules,
# and one that is downloaded would fetch them from the network.
IN_CAMERA_DIST = $(BR2_EXTERNAL_IN_CAMERA_PATH)/../out/dist
IN_CAMERA_VERSION = $(or $(shell cat $(IN_CAMERA_DIST)/version 2>/dev/null),not-distributed)
IN_CAMERA_SOURCE = in-camera-$(IN_CAMERA_VERSION).tar.gz
IN_CAMERA_SITE = $(IN_CAMERA_DIST)
IN_CAMERA_SITE_METHOD = file
IN_CAMERA_LICENSE = Apache-2.0
IN_CAMERA_LICENSE_FILES = LICENSE
IN_CAMERA_DEPENDENCIES = \
	alsa-lib \
	host-pkgconf \
	libvpx \
	libyuv \
	opus \
	webrtc-audio-processing

# apm1: release 1 of webrtc-audio-processing. dynamic: the Opus encoder from
# package opus; vendoring leaves out the archives that lie in its Go module.
IN_CAMERA_GOMOD = incamera
IN_CAMERA_TAGS = release apm1 dynamic
IN_CAMERA_LDFLAGS = -s -w -buildid= -X main.version=$(IN_CAMERA_VERSION)
IN_CAMERA_GO_ENV = GOFLAGS=-mod=vendor GOTOOLCHAIN=local
IN_CAMERA_BUILD_TARGETS = cmd/roomd

# Of all programs only roomd needs a C compiler, and init runs before there is a
# C library to load. mkbundle and initramfs are for post-image.sh.
define IN_CAMERA_BUILD_STATIC
	cd $(@D) && $(HOST_GO_TARGET_ENV) $(IN_CAMERA_GO_ENV) CGO_ENABLED=0 \
		$(GO_BIN) build $(IN_CAMERA_BUILD_OPTS) -o $(@D)/bin/ \
		./cmd/boxd ./cmd/roomctl ./buildroot/init
	cd $(@D) && $(HOST_GO_HOST_ENV) $(IN_CAMERA_GO_ENV) CGO_ENABLED=0 \
		$(GO_BIN) build $(IN_CAMERA_BUILD_OPTS) -o $(HOST_DIR)/bin/ \
		./cmd/mkbundle ./buildroot/initramfs
endef
IN_CAMERA_POST_BUILD_HOOKS += IN_CAMERA_BUILD_STATIC

# The post-image script puts init into the initramfs; the root has it for the
# phases of the boot that come after it.
define IN_CAMERA_INSTALL_STATIC
	$(INSTALL) -D -m 0755 $(@D)/bin/boxd $(TARGET_DIR)/usr/bin/boxd
	$(INSTALL) -D -m 0755 $(@D)/bin/roomctl $(TARGET_DIR)/usr/bin/roomctl
	$(INSTALL) -D -m 0755 $(@D)/bin/init $(TARGET_DIR)/usr/lib/in-camera/init
endef
IN_CAMERA_POST_INSTALL_TARGET_HOOKS += IN_CAMERA_INSTALL_STATIC

$(eval $(golang-package))
