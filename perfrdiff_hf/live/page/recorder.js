// What the listeners did since the recording began, and files of it.

import { ask, REACTION_WIDTH } from "./connection.js";
import { FRAME_RATE } from "./playout.js";

export class Recorder {
  // onEnd: a recording has ended, by `end` or because it is as long as it may be.
  constructor(longestSeconds, onEnd) {
    this.onEnd = onEnd;
    this.longest = longestSeconds * FRAME_RATE;
    this.isOn = false;
    this.tracks = new Map();
    this.recent = new Map();
  }

  // What has come but is not on the screen yet belongs to a recording that begins now.
  begin(position) {
    this.isOn = true;
    this.tracks = new Map();
    for (const [listener, segment] of this.recent) this.keep(listener, segment, position);
  }

  end() {
    this.isOn = false;
    this.onEnd();
  }

  forget() {
    this.recent.clear();
    this.isOn = false;
  }

  add(segment) {
    this.recent.set(segment.listener, segment);
    if (this.isOn) this.keep(segment.listener, segment, 0);
  }

  keep(listener, { start, rows }, from) {
    const track = this.tracks.get(listener) || rows.map(() => []);
    const skipped = Math.max(0, Math.ceil(from) - start);
    rows.forEach((frames, reaction) => track[reaction].push(...frames.slice(skipped)));
    for (const frames of track) frames.splice(this.longest);
    this.tracks.set(listener, track);
    if (track[0].length >= this.longest) this.end();
  }

  get seconds() {
    return Math.max(0, ...[...this.tracks.values()].map((track) => track[0].length)) / FRAME_RATE;
  }

  // One reaction as a file that is handed to the reader.
  async save(listener, reaction, suffix, name) {
    const frames = this.tracks.get(listener)?.[reaction] || [];
    if (!frames.length) throw new Error("There is nothing in this recording.");
    const rows = new Float32Array(frames.length * REACTION_WIDTH);
    frames.forEach((row, index) => rows.set(row, index * REACTION_WIDTH));
    const answer = await ask(`api/recording/${suffix}`, { method: "POST", body: rows });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await answer.blob());
    link.download = `${name}.${suffix}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }
}
