// SPDX-License-Identifier: Apache-2.0

// Shows the stage and plays what the loudspeaker plays. The room sends a
// picture each time that the page has asked for one, so a slow page gets fewer
// and never old ones.

const canvas = document.getElementById("stage");
const dark = document.getElementById("dark");
const listen = document.getElementById("listen");
const address = (path) => new URL(path, location.href.replace(/^http/, "ws"));

function watch() {
  const socket = new WebSocket(address("watch"));
  socket.binaryType = "blob";
  socket.onopen = () => socket.send("");
  socket.onmessage = async (message) => {
    try {
      const picture = await createImageBitmap(message.data);
      if (canvas.width !== picture.width || canvas.height !== picture.height) {
        canvas.width = picture.width;
        canvas.height = picture.height;
      }
      canvas.getContext("2d", { alpha: false }).drawImage(picture, 0, 0);
      picture.close();
      dark.hidden = true;
      if (socket.readyState === WebSocket.OPEN) socket.send("");
    } catch {
      socket.close();
    }
  };
  socket.onclose = () => {
    // A picture of a meeting does not stay when the room is gone.
    canvas.getContext("2d", { alpha: false }).fillRect(0, 0, canvas.width, canvas.height);
    dark.hidden = false;
    setTimeout(watch, 1000);
  };
}

let sound = null;

async function start() {
  const context = new AudioContext({ sampleRate: 48000, latencyHint: "interactive" });
  sound = { context, socket: null };
  await context.audioWorklet.addModule("loudspeaker.js");
  const node = new AudioWorkletNode(context, "loudspeaker", { numberOfInputs: 0, outputChannelCount: [1] });
  node.connect(context.destination);
  const socket = new WebSocket(address("listen"));
  socket.binaryType = "arraybuffer";
  socket.onmessage = (message) => node.port.postMessage(message.data, [message.data]);
  socket.onclose = stop;
  sound.socket = socket;
  show();
}

function stop() {
  const old = sound;
  sound = null;
  show();
  if (!old) return;
  if (old.socket) {
    old.socket.onclose = null;
    old.socket.close();
  }
  old.context.close();
}

function show() {
  listen.setAttribute("aria-pressed", String(sound !== null));
  listen.textContent = sound ? "Listening" : "Listen";
}

listen.addEventListener("click", () => {
  if (sound) stop();
  else start().catch(stop);
});

watch();
