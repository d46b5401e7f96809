// Where behaviour comes from: a camera and a microphone, or a file; and the clock of what was heard.

const SOUND_SETTINGS = { echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: 1 };
const VIDEO_SETTINGS = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 }, facingMode: "user" };
const DENIED = {
  NotAllowedError: "was denied. Allow it in the browser's address bar and try again",
  NotFoundError: "was not found. Connect one, or use a file",
  NotReadableError: "is used by another program",
};

// The camera and the microphone as a stream; what is not wanted is not asked for.
export async function openDevices({ sound, face }) {
  if (!navigator.mediaDevices) {
    throw new Error("This browser gives camera and microphone to pages on https or on this machine only.");
  }
  try {
    return await navigator.mediaDevices.getUserMedia({
      audio: sound && SOUND_SETTINGS,
      video: face && VIDEO_SETTINGS,
    });
  } catch (error) {
    const what = [face && "camera", sound && "microphone"].filter(Boolean).join(" or ");
    throw new Error(`The ${what} ${DENIED[error.name] || `cannot be used: ${error.message}`}.`);
  }
}

// Show a file in a video element; rejects what the browser cannot play.
export async function openFile(video, file) {
  const address = URL.createObjectURL(file);
  video.srcObject = null;
  video.src = address;
  try {
    await new Promise((resolve, reject) => {
      video.onloadeddata = resolve;
      video.onerror = () => reject(new Error(`${file.name} cannot be played by this browser as a video.`));
    });
  } catch (error) {
    closeFile(video);
    throw error;
  }
}

export function closeFile(video) {
  video.pause();
  if (video.src) URL.revokeObjectURL(video.src);
  video.removeAttribute("src");
  video.load();
}

// Sound in pieces of Int16Array, and the time that it measures.
export class SoundSource {
  constructor(onPiece) {
    this.onPiece = onPiece;
    this.samples = 0;
    this.lastPiece = null;
  }

  // From a stream, or from a media element, which is then heard as well.
  async open({ stream, element }) {
    this.context = newContext(stream);
    await this.context.audioWorklet.addModule("page/sound-worklet.js");
    const source = stream
      ? this.context.createMediaStreamSource(stream)
      : this.context.createMediaElementSource(element);
    if (!stream) source.connect(this.context.destination);
    this.listener = new AudioWorkletNode(this.context, "listener", { numberOfOutputs: 0 });
    this.listener.port.onmessage = ({ data }) => this.take(data);
    source.connect(this.listener);
    await this.context.resume();
  }

  take(piece) {
    this.samples += piece.length;
    this.lastPiece = performance.now();
    this.onPiece(piece);
  }

  // Begin to count from here.
  restart() {
    this.samples = 0;
    this.lastPiece = performance.now();
  }

  // Seconds of sound, and of the piece that is on its way.
  get seconds() {
    if (this.lastPiece === null) return 0;
    return this.samples / 16000 + Math.min((performance.now() - this.lastPiece) / 1000, 0.2);
  }

  async close() {
    if (this.listener) this.listener.port.onmessage = null;
    if (this.context && this.context.state !== "closed") await this.context.close();
  }
}

// Some browsers connect a microphone only to a context of its own rate; the worklet then makes the rate.
function newContext(stream) {
  try {
    const context = new AudioContext({ sampleRate: 16000 });
    if (stream) context.createMediaStreamSource(stream).disconnect();
    return context;
  } catch {
    return new AudioContext();
  }
}
