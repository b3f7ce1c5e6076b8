// SPDX-License-Identifier: Apache-2.0

// Plays 16-bit mono at 48 kHz that arrives in periods of 10 ms. It begins with
// 60 ms in hand, is silent when it has run dry, and leaves out sound beyond
// 250 ms, so that what is heard is now.

const first = 48 * 60;
const most = 48 * 250;

class Loudspeaker extends AudioWorkletProcessor {
  constructor() {
    super();
    this.ring = new Float32Array(most);
    this.read = 0;
    this.held = 0;
    this.playing = false;
    this.port.onmessage = (message) => {
      for (const sample of new Int16Array(message.data)) {
        if (this.held === most) {
          this.read = (this.read + 1) % most;
          this.held--;
        }
        this.ring[(this.read + this.held) % most] = sample / 32768;
        this.held++;
      }
    };
  }

  process(_, outputs) {
    const out = outputs[0][0];
    if (this.held >= first) this.playing = true;
    for (let i = 0; i < out.length; i++) {
      if (this.playing && this.held > 0) {
        out[i] = this.ring[this.read];
        this.read = (this.read + 1) % most;
        this.held--;
      } else {
        this.playing = false;
        out[i] = 0;
      }
    }
    return true;
  }
}

registerProcessor("loudspeaker", Loudspeaker);
