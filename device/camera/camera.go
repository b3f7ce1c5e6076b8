// SPDX-License-Identifier: Apache-2.0

// Package camera captures pictures from cameras through V4L2, as a driver of
// pion/mediadevices, and opens any registered camera by its stable name.
//
// It uses the vocabulary of mediadevices and none of its Linux camera code.
// Each picture is a *frame.Picture, which carries the capture instant that the
// kernel noted. It does not scale, encode or choose between cameras.
package camera
