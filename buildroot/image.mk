# SPDX-License-Identifier: Apache-2.0

# Targets of the firmware that runs in QEMU, for the Makefile of the repository.

IMAGE      := $(CURDIR)/out/image
KEYS       := $(CURDIR)/out/keys
ROLLBACK   ?= 1
FLOOR      ?=
COMMIT     ?= $(shell git rev-parse HEAD)
BOARD      := qemu-arm64
IMAGEDEBS  := sbsigntool faketime mtools dosfstools genimage squashfs-tools cryptsetup-bin zstd systemd \
              gcc-aarch64-linux-gnu g++-aarch64-linux-gnu
BOOTDEBS   := qemu-system-arm qemu-efi-aarch64 ipxe-qemu swtpm swtpm-tools mtools
KERNELS    ?= ../shared/kernel
FRAGMENTS  := buildroot/board/common/linux/base.config buildroot/board/common/linux/hardening.config buildroot/board/$(BOARD)/linux.config

# A version that a bundle can name: the tag, or one that grows with each commit.
SEMANTIC      := ^v?([0-9]{1,6}\.[0-9]{1,6}\.[0-9]{1,6}(-[0-9a-z][0-9a-z.]{0,15})?)$$
IMAGE_VERSION  = $(or $(shell sed -nE 's/$(SEMANTIC)/\1/p' <<<'$(VERSION)'),0.1.0-dev.$(shell git rev-list --count HEAD 2>/dev/null || echo 0))

# One build at a time is at work in out/image.
ALONE = mkdir -p $(IMAGE) && exec 9>$(IMAGE)/.lock && flock 9

.PHONY: kernel image image-lock image-parts board-log bundle repro run-image e2e-images e2e

kernel: ## Take the kernel that was built before, if it is what the tree asks for
	@$(call INSTALL,zstd)
	@$(ALONE); mkdir -p $(IMAGE)/kernel; \
	(cd $(KERNELS) && sha256sum -c --quiet --ignore-missing SHA256SUMS); \
	buildroot/board/common/check-kconfig $(KERNELS)/resolved-release.config $(FRAGMENTS); \
	install -m 0644 $(KERNELS)/resolved-release.config $(IMAGE)/kernel/kernel.config; \
	zstd -dqf $(KERNELS)/Image-release.zst -o $(IMAGE)/kernel/Image

image-lock: ## Take the Debian packages that the mirror has now
	@$(ALONE); buildroot/debian/fetch $(IMAGE) update

image-parts: ui kernel sysroot
	@$(call INSTALL,$(IMAGEDEBS))
	@$(ALONE); buildroot/debian/fetch $(IMAGE); \
	$(CROSSENV) go build $(RELEASE) -o $(IMAGE)/programs/ ./cmd/roomd; \
	GOOS=linux GOARCH=arm64 CGO_ENABLED=0 go build $(RELEASE) -o $(IMAGE)/programs/ ./cmd/boxd ./cmd/roomctl ./buildroot/init ./buildroot/probe; \
	CGO_ENABLED=0 go build -trimpath -o $(IMAGE)/host/bin/ ./cmd/mkbundle ./buildroot/initramfs ./buildroot/boardlog; \
	[ -e $(KEYS)/db.crt ] || $(IMAGE)/host/bin/mkbundle keys -out $(KEYS)

# MAKEIMAGE makes a release in folder $(1), of version $(2) and rollback number $(3),
# with overlays $(4): its own root, and all that follows from it, and a disk unless
# DISK=no. MAKEBUNDLE makes of that what rooms update from.
MAKEIMAGE = rm -rf $(1) && mkdir -p $(1) && cp $(IMAGE)/kernel/Image $(IMAGE)/kernel/kernel.config $(1)/ && \
  export TEST_OVERLAY='$(4)' VERSION=$(2) ROLLBACK=$(3) VARIANT=debian KEYS=$(KEYS) COMMIT=$(COMMIT) \
    TARGET_DIR=$(1)/target BINARIES_DIR=$(1) HOST_DIR=$(IMAGE)/host BR2_EXTERNAL_IN_CAMERA_PATH=$(CURDIR)/buildroot && \
  buildroot/debian/assemble $(IMAGE) $(1) && buildroot/board/common/post-build.sh $(1)/target $(BOARD) && buildroot/board/common/post-image.sh $(1) $(BOARD)
MAKEBUNDLE = $(MAKEIMAGE) && buildroot/debian/bundle $(IMAGE) $(1) $(BOARD)

image: image-parts ## Build the image for QEMU in out/image/release/disk.img
	@$(ALONE); $(call MAKEIMAGE,$(IMAGE)/release,$(IMAGE_VERSION),$(ROLLBACK),)

bundle: board-log ## Build the image and the bundle that rooms update from; FLOOR=n lets it raise their floor
	@$(ALONE); export FLOOR='$(FLOOR)'; $(call MAKEBUNDLE,$(IMAGE)/release,$(IMAGE_VERSION),$(ROLLBACK),)

# What AAVMF measures is learnt by starting it once.
board-log: image-parts
	@$(call INSTALL,$(BOOTDEBS))
	@$(ALONE); buildroot/probe/make $(IMAGE) $(KEYS)

repro: sysroot ## Build the committed tree twice, and compare all that comes out byte for byte
	@$(call INSTALL,$(IMAGEDEBS))
	@$(ALONE); buildroot/debian/fetch $(IMAGE); [ -e $(KEYS)/db.crt ] || go run ./cmd/mkbundle keys -out $(KEYS); \
	  KERNELS=$(KERNELS) buildroot/debian/repro $(IMAGE) $(KEYS)

# VERIFIER=host:port is the one address that the box reaches. RESET=1 makes a new
# box, of the image as it is now; without, the one from the last time goes on.
BOX      ?= $(CURDIR)/out/box
VERIFIER ?=
RESET    ?=
run-image: image ## Boot the image here, with its console on this terminal and its panel at a printed address
	@$(call INSTALL,$(BOOTDEBS))
	@go build -o $(IMAGE)/host/bin/ ./buildroot/runimage
	@$(IMAGE)/host/bin/runimage -image $(IMAGE)/release/disk.img -keys $(KEYS) -box '$(BOX)' $(if $(RESET),-reset) -verifier '$(VERIFIER)'

# Releases for the tests: A, which a box leaves the factory with; B, which
# raises the floor; and C, whose room does not become healthy. The kernel as built
# shows nobody the battery's clock, and the tests have no time server: what starts
# takes a time soon after the build, or certificates would not be valid yet.
E2E := $(IMAGE)/e2e
e2e-images: board-log ## The images and bundles that the tests of make e2e boot
	@$(call INSTALL,openssl)
	@$(ALONE); buildroot/e2e/overlay $(IMAGE)/overlay; rm -rf $(IMAGE)/unhealthy $(E2E); mkdir -p $(IMAGE)/unhealthy/usr/lib/systemd/system/roomd.service.d; \
	  printf '[Service]\nExecStart=\nExecStart=/usr/bin/roomd -config /usr/share/in-camera-test/none.json\n' >$(IMAGE)/unhealthy/usr/lib/systemd/system/roomd.service.d/unhealthy.conf; \
	  export CLOCK_EPOCH=$$(($$(date +%s) + 600)) ZSTD_LEVEL=1; \
	  ($(call MAKEBUNDLE,$(E2E)/A,1.0.0,1,$(IMAGE)/overlay)); \
	  (export FLOOR=2 DISK=no; $(call MAKEBUNDLE,$(E2E)/B,1.1.0,2,$(IMAGE)/overlay)); \
	  (export DISK=no; $(call MAKEBUNDLE,$(E2E)/C,1.2.0,2,$(IMAGE)/overlay $(IMAGE)/unhealthy))

e2e: e2e-images ## Boot the image in QEMU with a software TPM and judge it, with a table
	@E2E_IMAGE='$(E2E)/A' E2E_KEYS='$(KEYS)' E2E_PROBE='$(IMAGE)/probe/disk.img' go test -tags e2e -count=1 -timeout 40m -v ./buildroot/e2e >$(IMAGE)/e2e.log 2>&1 || failed=1; \
	  sed -n 's/^ *--- \(PASS\|FAIL\|SKIP\): \([^ ]*\) (\(.*\))$$/\1  \2  \3/p; /^figure  /p' $(IMAGE)/e2e.log; [ -z "$${failed:-}" ] || { echo "see $(IMAGE)/e2e.log" >&2; exit 1; }
