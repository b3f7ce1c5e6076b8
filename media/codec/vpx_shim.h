// SPDX-License-Identifier: Apache-2.0

// The part of libvpx that package codec uses, without its structs: results
// come back by value, so that calls from Go allocate nothing.

#ifndef INCAMERA_VPX_SHIM_H
#define INCAMERA_VPX_SHIM_H

#include <stddef.h>
#include <stdint.h>

typedef struct ic_encoder ic_encoder;
typedef struct ic_decoder ic_decoder;

typedef struct {
	const void *data; // valid until the next call
	size_t size;      // 0: the picture was dropped
	int key;
	int err; // vpx_codec_err_t
} ic_packet;

typedef struct {
	int width, height;
	int corrupt;
	int err; // vpx_codec_err_t
} ic_picture;

// NULL: it could not be made.
ic_encoder *ic_encoder_new(int width, int height, int kbps);
// pix is I420 of the encoder's size without padding; it is not kept.
ic_packet ic_encode(ic_encoder *e, const uint8_t *pix, int64_t pts, long duration, int force_key);
int ic_encoder_bitrate(ic_encoder *e, int kbps);
int ic_encoder_cpu_used(ic_encoder *e, int cpu_used);
void ic_encoder_free(ic_encoder *e);

ic_decoder *ic_decoder_new(void);
ic_picture ic_decode(ic_decoder *d, const uint8_t *data, unsigned int size);
// Copies the picture of the last ic_decode without error to dst: I420 without
// padding, width * height * 3 / 2 bytes.
void ic_decoder_copy(ic_decoder *d, uint8_t *dst);
void ic_decoder_free(ic_decoder *d);

const char *ic_error(int err);

#endif
