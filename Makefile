# SPDX-License-Identifier: Apache-2.0

# Every check that decides about a change is a target here; CI only calls make.

SHELL       := bash
.SHELLFLAGS := -eu -o pipefail -c

SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
VERSION           ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
export SOURCE_DATE_EPOCH VERSION

# Tools are pinned here and not in go.mod, whose list is what ships.
GOLANGCI    ?= go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOVULNCHECK ?= go run golang.org/x/vuln/cmd/govulncheck@v1.9.0

# Build with the Go at hand, as the image's build does: go.mod names no patch
# release of it.
export GOTOOLCHAIN = local

# Everything but a release knows simulated TPMs; which one is used is always
# written out in a configuration.
TAGS := -tags simtpm

RELEASE := -trimpath -buildvcs=false -tags release -ldflags '-s -w -buildid= -X main.version=$(VERSION)'

.DEFAULT_GOAL := help
.PHONY: help deps go ui build demo demo-check check lint test peers interop bench-mls bench fuzz cross sysroot vuln clean

help: ## Show the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# A fresh Debian machine needs no other preparation; where all is there, deps
# takes no time and asks for nothing.
DEBS := build-essential pkg-config ca-certificates libvpx-dev libyuv-dev libasound2-dev \
        libwebrtc-audio-processing-dev node-preact node-typescript chromium \
        libssl-dev swtpm swtpm-tools tpm2-tools systemd binutils-aarch64-linux-gnu sbsigntool openssl postgresql nftables iproute2 \
        cryptsetup-bin e2fsprogs cpio
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
INSTALL = dpkg-query -W -f '$${Status}\n' $(1) 2>/dev/null | awk '/ok installed/{n++} END{exit n!=$(words $(1))}' || \
          { $(SUDO) apt-get update -q && DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -qy -o DPkg::Lock::Timeout=400 --no-install-recommends $(1); }

deps: go ## Install what the build and the tests need, on Debian
	@$(call INSTALL,$(DEBS))

go:
	@v=$$(go env GOVERSION 2>/dev/null | sed -n 's/^go1\.\([0-9]*\).*/\1/p'); [ "$${v:-0}" -ge 26 ] || \
	  { echo "Go 1.26 or newer is needed: unpack it from https://go.dev/dl/ into /usr/local/go and put /usr/local/go/bin into PATH" >&2; exit 1; }

ui: ## Bundle the panel's page from its TypeScript
	go run ./device/panel/ui/build

build: ui ## Build all programs for this computer in out/
	go build $(TAGS) -o out/ -ldflags '-X main.version=$(VERSION)' ./cmd/...

# CAMERA and MIC take the name of a device or a file: see the README.
CAMERA ?=
MIC    ?=
# TAMPER=1 lets Curie start other software once it is enrolled. POLICY=flagged
# lets every room in and shows it as it is.
TAMPER ?=
POLICY ?= attested-only
demo: deps build ## A site and two rooms on this computer; touch Call on one panel and Answer on the other
	out/roomd demo -camera '$(CAMERA)' -microphone '$(MIC)' -policy '$(POLICY)' $(if $(TAMPER),-tamper)

REPORT ?=
demo-check: deps build ## The demo without people: 30 s of call, driven through the panels, with figures
	out/roomd demo -check -report '$(REPORT)' -policy '$(POLICY)' $(if $(TAMPER),-tamper)

check: lint test ## What must pass before a change lands

lint: deps ui ## Formatting, go.mod, types of the page and linters
	go mod tidy -diff
	tsc --noEmit -p device/panel/ui
	$(GOLANGCI) run

TESTFLAGS   ?=
SCREENSHOTS ?= $(CURDIR)/out/screenshots
test: deps ui ## All tests under the race detector, in random order and uncached, then the tables of vectors
	@rm -rf out/vectors && mkdir -p out/vectors
	failed=0; REQUIRE_BROWSER=1 SCREENSHOTS='$(SCREENSHOTS)' VECTOR_TABLES='$(CURDIR)/out/vectors' \
	  go test $(TAGS) -race -shuffle=on -count=1 -timeout 30m $(TESTFLAGS) ./... || failed=$$?; \
	  find out/vectors -type f -exec cat {} +; exit $$failed

# The peers need Node 18 or newer; any will do, and Debian's is installed where
# there is none. Their versions are in the lock file.
PEERS := media/mls/interop/testdata/node
peers: go
	@{ command -v node && command -v npm; } >/dev/null || { $(call INSTALL,nodejs npm); }
	@cd $(PEERS) && { [ node_modules/.package-lock.json -nt package-lock.json ] || npm ci; }

interop: peers ## Package mls against other implementations, with a table; MLS_SEED repeats the choices
	go test -tags interop -count=1 -timeout 30m -v ./media/mls/interop | grep -v '^ *--- PASS\|^=== '

bench-mls: peers ## The figures of package mls beside bare cryptography and ts-mls, some minutes
	@mkdir -p out
	go test -tags figures -run '^TestFigures$$' -count=1 -timeout 30m -v ./media/mls | tee out/bench-mls.md

bench: deps ui bench-mls ## Benchmarks, ten runs, for benchstat, and the figures of package mls
	go test $(TAGS) -run '^$$' -bench . -benchmem -count 10 -timeout 2h ./... | tee out/bench.txt

# Where code draws random numbers the fuzzer cannot tell what an input covers,
# and would spend its time on making it shorter.
FUZZTIME ?= 20s
fuzz: deps ui ## Run each fuzz target for FUZZTIME
	@for dir in $$(go list -f '{{.Dir}}' ./...); do \
	  for target in $$(cat "$$dir"/*_test.go 2>/dev/null | sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p'); do \
	    go test $(TAGS) -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x "$$dir"; done; done

vuln: ## Known vulnerabilities in what is called
	$(GOVULNCHECK) ./...

clean: ## Remove what was built
	rm -rf out
	find device/panel/ui/dist -mindepth 1 ! -name README.md -delete

# The C libraries of the target come from Debian's arm64 packages, unpacked into
# a private root: nothing of this computer's own package state changes.
CROSS       := aarch64-linux-gnu-
CROSSDEBS   := gcc-aarch64-linux-gnu g++-aarch64-linux-gnu qemu-user-static
TARGETDEBS  := libc6-dev libstdc++-12-dev libvpx-dev libyuv-dev libasound2-dev libwebrtc-audio-processing-dev
SYSROOT     := $(CURDIR)/out/sysroot
CROSSENV     = GOOS=linux GOARCH=arm64 CGO_ENABLED=1 CC='$(CROSS)gcc --sysroot=$(SYSROOT)' CXX='$(CROSS)g++ --sysroot=$(SYSROOT)' \
               PKG_CONFIG_SYSROOT_DIR='$(SYSROOT)' \
               PKG_CONFIG_LIBDIR='$(SYSROOT)/usr/lib/aarch64-linux-gnu/pkgconfig:$(SYSROOT)/usr/share/pkgconfig'

cross: deps ui sysroot ## Build the release programs for ARM64 in out/arm64/ and run them under QEMU
	@$(call INSTALL,$(CROSSDEBS))
	$(CROSSENV) go build $(RELEASE) -o out/arm64/ ./cmd/roomd
	ROOMD_ARM64='$(CURDIR)/out/arm64/roomd' QEMU='qemu-aarch64-static -L $(SYSROOT)' go test -tags cross -count=1 -run '^TestCross$$' -v ./cmd/roomd

sysroot:
	@buildroot/debian/sysroot $(SYSROOT) $(TARGETDEBS)

include buildroot/image.mk
