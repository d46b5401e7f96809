// What the listeners did since the recording began, and files of it: frame 0 is what was on the screen when the button
// was pressed, for all of them.

import { ask, REACTION_WIDTH } from "./connection.js";
import { FRAME_RATE } from "./playout.js";

export class Recorder {
  // onEnd: a recording has ended, by `end` or because it is as long as it may be.
  constructor(longestSeconds, onEnd) {
    this.onEnd = onEnd;
    this.longest = longestSeconds * FRAME_RATE;
    this.isOn = false;
    this.tracks = new Map();
    this.waiting = [];
  }

  // What has come but is not on the screen yet belongs to a recording that begins now.
  begin(position) {
    this.isOn = true;
    this.origin = Math.ceil(position);
    this.tracks = new Map();
    for (const segment of this.waiting) this.keep(segment);
  }

  end() {
    this.isOn = false;
    for (const track of this.tracks.values()) for (const frames of track) frames.splice(this.length);
    this.onEnd();
  }

  forget() {
    this.waiting = [];
    this.isOn = false;
  }

  // position: the frame that is on the screen; of several listeners, of the one that is furthest behind.
  add(segment, position) {
    this.waiting = this.waiting.filter(({ start, rows }) => start + rows[0].length > position);
    this.waiting.push(segment);
    if (this.isOn) this.keep(segment);
  }

  keep({ listener, start, rows }) {
    const track = this.tracks.get(listener) || rows.map(() => []);
    const at = start - this.origin;
    rows.forEach((frames, reaction) => {
      const kept = track[reaction];
      // Where seconds were left out, the face is held, so that all listeners keep their times.
      while (kept.length < Math.min(at, this.longest)) kept.push(kept[kept.length - 1] || frames[0]);
      kept.push(...frames.slice(Math.max(0, kept.length - at)));
      kept.splice(this.longest);
    });
    if (track[0].length) this.tracks.set(listener, track);
    if (this.isOn && this.length >= this.longest) this.end();
  }

  // In frames: as long as all listeners have been heard of.
  get length() {
    const lengths = [...this.tracks.values()].map((track) => track[0].length);
    return lengths.length ? Math.min(...lengths) : 0;
  }

  get seconds() {
    return this.length / FRAME_RATE;
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
