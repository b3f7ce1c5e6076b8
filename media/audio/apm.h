// SPDX-License-Identifier: Apache-2.0

// The echo canceller as C: a wall between Go and the C++ of
// webrtc-audio-processing. All sound is 10 ms of 48 kHz mono, 480 floats.
#ifndef IN_CAMERA_APM_H
#define IN_CAMERA_APM_H

#ifdef __cplusplus
extern "C" {
#endif

typedef struct apm apm;

// apm_new makes a canceller with noise suppression and high-pass filter, or
// returns NULL.
apm *apm_new(void);
void apm_free(apm *a);

// apm_forget makes it forget the room.
int apm_forget(apm *a);

// Both return 0, or the library's error, which is negative. They keep no
// pointer. apm_capture changes near in place.
int apm_render(apm *a, const float *far);
int apm_capture(apm *a, float *near, int delay_ms);

#ifdef __cplusplus
}
#endif
#endif
