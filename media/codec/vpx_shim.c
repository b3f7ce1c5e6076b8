// SPDX-License-Identifier: Apache-2.0

#include "vpx_shim.h"

#include <stdlib.h>
#include <string.h>
#include <vpx/vp8cx.h>
#include <vpx/vp8dx.h>
#include <vpx/vpx_decoder.h>
#include <vpx/vpx_encoder.h>

struct ic_encoder {
	vpx_codec_ctx_t ctx;
	vpx_codec_enc_cfg_t cfg;
};

struct ic_decoder {
	vpx_codec_ctx_t ctx;
	vpx_image_t *picture; // owned by ctx, valid until the next decode
};

ic_encoder *ic_encoder_new(int width, int height, int kbps) {
	ic_encoder *e = calloc(1, sizeof *e);
	if (!e)
		return NULL;
	vpx_codec_enc_cfg_t *c = &e->cfg;
	if (vpx_codec_enc_config_default(vpx_codec_vp8_cx(), c, 0)) {
		free(e);
		return NULL;
	}
	c->g_w = width;
	c->g_h = height;
	c->g_timebase.num = 1;
	c->g_timebase.den = 90000;
	c->g_threads = 1;
	c->g_lag_in_frames = 0;
	c->g_error_resilient = 0;
	c->rc_end_usage = VPX_CBR;
	c->rc_target_bitrate = kbps;
	c->rc_min_quantizer = 2;
	c->rc_max_quantizer = 56;
	c->rc_undershoot_pct = 100;
	c->rc_overshoot_pct = 15;
	c->rc_buf_initial_sz = 500;
	c->rc_buf_optimal_sz = 600;
	c->rc_buf_sz = 1000;
	c->kf_mode = VPX_KF_AUTO;
	c->kf_max_dist = 3000;
	if (vpx_codec_enc_init(&e->ctx, vpx_codec_vp8_cx(), c, 0)) {
		free(e);
		return NULL;
	}
	if (vpx_codec_control(&e->ctx, VP8E_SET_CPUUSED, -8) ||
	    vpx_codec_control(&e->ctx, VP8E_SET_STATIC_THRESHOLD, 1) ||
	    vpx_codec_control(&e->ctx, VP8E_SET_NOISE_SENSITIVITY, 0) ||
	    vpx_codec_control(&e->ctx, VP8E_SET_TOKEN_PARTITIONS, 0) ||
	    vpx_codec_control(&e->ctx, VP8E_SET_MAX_INTRA_BITRATE_PCT, 450)) {
		ic_encoder_free(e);
		return NULL;
	}
	return e;
}

ic_packet ic_encode(ic_encoder *e, const uint8_t *pix, int64_t pts, long duration, int force_key) {
	ic_packet out = {0};
	vpx_image_t img;
	// With no lag libvpx copies the picture into its own before it returns.
	if (!vpx_img_wrap(&img, VPX_IMG_FMT_I420, e->cfg.g_w, e->cfg.g_h, 1, (unsigned char *)pix)) {
		out.err = VPX_CODEC_INVALID_PARAM;
		return out;
	}
	out.err = vpx_codec_encode(&e->ctx, &img, pts, duration, force_key ? VPX_EFLAG_FORCE_KF : 0, VPX_DL_REALTIME);
	if (out.err)
		return out;
	vpx_codec_iter_t iter = NULL;
	const vpx_codec_cx_pkt_t *p;
	while ((p = vpx_codec_get_cx_data(&e->ctx, &iter))) {
		if (p->kind != VPX_CODEC_CX_FRAME_PKT)
			continue;
		out.data = p->data.frame.buf;
		out.size = p->data.frame.sz;
		out.key = (p->data.frame.flags & VPX_FRAME_IS_KEY) != 0;
	}
	return out;
}

int ic_encoder_bitrate(ic_encoder *e, int kbps) {
	e->cfg.rc_target_bitrate = kbps;
	return vpx_codec_enc_config_set(&e->ctx, &e->cfg);
}

int ic_encoder_cpu_used(ic_encoder *e, int cpu_used) {
	return vpx_codec_control(&e->ctx, VP8E_SET_CPUUSED, cpu_used);
}

void ic_encoder_free(ic_encoder *e) {
	vpx_codec_destroy(&e->ctx);
	free(e);
}

ic_decoder *ic_decoder_new(void) {
	ic_decoder *d = calloc(1, sizeof *d);
	if (!d)
		return NULL;
	vpx_codec_dec_cfg_t cfg = {.threads = 1};
	if (vpx_codec_dec_init(&d->ctx, vpx_codec_vp8_dx(), &cfg, 0)) {
		free(d);
		return NULL;
	}
	return d;
}

ic_picture ic_decode(ic_decoder *d, const uint8_t *data, unsigned int size) {
	ic_picture out = {0};
	d->picture = NULL;
	out.err = vpx_codec_decode(&d->ctx, data, size, NULL, 0);
	if (out.err)
		return out;
	vpx_codec_iter_t iter = NULL;
	d->picture = vpx_codec_get_frame(&d->ctx, &iter);
	if (!d->picture || d->picture->fmt != VPX_IMG_FMT_I420) {
		out.err = VPX_CODEC_CORRUPT_FRAME;
		return out;
	}
	out.width = d->picture->d_w;
	out.height = d->picture->d_h;
	out.err = vpx_codec_control(&d->ctx, VP8D_GET_FRAME_CORRUPTED, &out.corrupt);
	return out;
}

void ic_decoder_copy(ic_decoder *d, uint8_t *dst) {
	for (int plane = 0; plane < 3; plane++) {
		unsigned int shift = plane ? 1 : 0;
		size_t width = d->picture->d_w >> shift, height = d->picture->d_h >> shift;
		const uint8_t *src = d->picture->planes[plane];
		for (size_t y = 0; y < height; y++) {
			memcpy(dst, src, width);
			dst += width;
			src += d->picture->stride[plane];
		}
	}
}

void ic_decoder_free(ic_decoder *d) {
	vpx_codec_destroy(&d->ctx);
	free(d);
}

const char *ic_error(int err) { return vpx_codec_err_to_string(err); }
