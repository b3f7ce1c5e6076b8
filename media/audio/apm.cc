// SPDX-License-Identifier: Apache-2.0

//go:build cgo

#include "apm.h"

#include <cstddef>
#include <new>

#if __has_include(<webrtc/modules/audio_processing/include/audio_processing.h>)
#include <webrtc/modules/audio_processing/include/audio_processing.h>
#define APM_0 1 // the 0.3 of Debian 12: AEC2
#else
#include <modules/audio_processing/include/audio_processing.h>
#endif

namespace {
constexpr int kRate = 48000;
constexpr size_t kSamples = kRate / 100;
}  // namespace

struct apm {
#ifdef APM_0
  webrtc::AudioProcessing *p = nullptr;
  ~apm() { delete p; }
#else
  rtc::scoped_refptr<webrtc::AudioProcessing> p;
#endif
  float spare[kSamples] = {};  // the library wants to write the far end back
};

#ifdef APM_0

static bool configure(apm *a) {
  webrtc::Config c;
  // The delay that devices tell is often wrong: find it in the sound, and let
  // the filter be long enough for a large room.
  c.Set<webrtc::DelayAgnostic>(new webrtc::DelayAgnostic(true));
  c.Set<webrtc::ExtendedFilter>(new webrtc::ExtendedFilter(true));
  a->p = webrtc::AudioProcessing::Create(c);
  if (a->p == nullptr) return false;
  // High suppression takes 5 dB more echo in the first seconds and cuts the
  // room's own voice to pieces while both speak.
  auto *aec = a->p->echo_cancellation();
  auto *ns = a->p->noise_suppression();
  return aec->enable_drift_compensation(false) == 0 &&  // both directions are on one clock
         aec->set_suppression_level(webrtc::EchoCancellation::kModerateSuppression) == 0 &&
         aec->Enable(true) == 0 &&
         ns->set_level(webrtc::NoiseSuppression::kModerate) == 0 &&
         ns->Enable(true) == 0 &&
         a->p->high_pass_filter()->Enable(true) == 0;
}

#else

static bool configure(apm *a) {
  a->p = webrtc::AudioProcessingBuilder().Create();
  if (!a->p) return false;
  webrtc::AudioProcessing::Config c;
  c.echo_canceller.enabled = true;
  c.echo_canceller.mobile_mode = false;
  c.noise_suppression.enabled = true;
  c.noise_suppression.level = webrtc::AudioProcessing::Config::NoiseSuppression::kModerate;
  c.high_pass_filter.enabled = true;
  a->p->ApplyConfig(c);
  return true;
}

#endif

apm *apm_new(void) {
  apm *a = new (std::nothrow) apm;
  if (a == nullptr) return nullptr;
  if (!configure(a)) {
    delete a;
    return nullptr;
  }
  return a;
}

void apm_free(apm *a) { delete a; }

int apm_forget(apm *a) { return a->p->Initialize(); }

int apm_render(apm *a, const float *far) {
  const webrtc::StreamConfig mono(kRate, 1);
  float *out = a->spare;
  return a->p->ProcessReverseStream(&far, mono, mono, &out);
}

int apm_capture(apm *a, float *near, int delay_ms) {
  const webrtc::StreamConfig mono(kRate, 1);
  const float *in = near;
  // A delay out of range is a warning: the library has cut it and goes on.
  int err = a->p->set_stream_delay_ms(delay_ms);
  if (err != 0 && err != webrtc::AudioProcessing::kBadStreamParameterWarning) return err;
  err = a->p->ProcessStream(&in, mono, mono, &near);
  return err == webrtc::AudioProcessing::kBadStreamParameterWarning ? 0 : err;
}
