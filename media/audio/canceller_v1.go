// SPDX-License-Identifier: Apache-2.0

//go:build cgo && apm1

package audio

// The build tag apm1 takes release 1 of the library, which has AEC3 and another
// name for pkg-config.

// #cgo pkg-config: webrtc-audio-processing-1
import "C"
