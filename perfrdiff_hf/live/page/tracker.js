// Hands the pictures of a video element to the worker, one at a time, and gives its rows.

const RATE = 25;
const SIZE = 480;

export class Tracker {
  // names: of the 52 blendshapes, in the server's order.
  static async open(names) {
    const tracker = new Tracker();
    tracker.worker = new Worker("page/tracker-worker.js", { type: "module" });
    const vendor = new URL("vendor/tasks-vision/wasm", document.baseURI).href;
    const model = new URL("face_landmarker.task", document.baseURI).href;
    await new Promise((resolve, reject) => {
      tracker.worker.onmessage = ({ data }) => (data.error ? reject(new Error(data.error)) : resolve());
      tracker.worker.onerror = (event) => reject(new Error(`The face tracker cannot be started: ${event.message}`));
      tracker.worker.postMessage({ names, wasm: vendor, model });
    });
    tracker.worker.onmessage = ({ data }) => tracker.take(data);
    return tracker;
  }

  constructor() {
    this.rows = this.seen = 0;
    this.milliseconds = 0;
    this.isBusy = false;
    this.timer = null;
  }

  // Look at a video's pictures until `stop`; `clock` says when each is, in seconds.
  start(video, clock, onRow, onError) {
    this.stop();
    Object.assign(this, { video, clock, onRow, onError });
    this.rows = this.seen = 0;
    this.timer = setInterval(() => this.look(), 1000 / RATE);
  }

  stop() {
    clearInterval(this.timer);
    this.timer = null;
  }

  async look() {
    const { video } = this;
    if (this.isBusy || video.readyState < 2 || !video.videoWidth) return;
    this.isBusy = true;
    const seconds = this.clock();
    try {
      const scale = Math.min(1, SIZE / video.videoWidth);
      const picture = await createImageBitmap(video, {
        resizeWidth: Math.round(scale * video.videoWidth),
        resizeHeight: Math.round(scale * video.videoHeight),
      });
      this.worker.postMessage({ picture, seconds }, [picture]);
    } catch {
      this.isBusy = false; // the video is between two pictures
    }
  }

  take({ row, milliseconds, error }) {
    this.isBusy = false;
    if (this.timer === null) return;
    if (error) {
      this.stop();
      this.onError(new Error(error));
      return;
    }
    this.rows += 1;
    this.seen += row[1];
    this.milliseconds = this.rows === 1 ? milliseconds : 0.9 * this.milliseconds + 0.1 * milliseconds;
    this.onRow(row);
  }

  close() {
    this.stop();
    this.worker.terminate();
  }
}
