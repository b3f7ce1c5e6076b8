// SPDX-License-Identifier: Apache-2.0

//go:build cgo && !apm1

package audio

// #cgo pkg-config: webrtc-audio-processing
import "C"
