// From speaking to moving: how long after a moment of the speaker the first frame that answers it is on the screen.
// Moments that no frame answers, or that were answered while nobody could see it, are not counted.

import { FRAME_RATE } from "./playout.js";

const REMEMBERED_FRAMES = 120 * FRAME_RATE;

export class DelayMeter {
  // lag: frames from the speaker's last frame that a window answers to the window's first new one.
  constructor(lag) {
    this.lag = lag;
    this.answered = 0;
    this.next = 0;
    this.waiting = [];
    this.delays = [];
  }

  // A segment of so many frames has come, of which the first is `start`.
  add(start, frames) {
    const until = Math.max(0, start - this.lag);
    const isNext = start <= this.next; // else seconds were left out, and begun anew behind them
    if (isNext && until > this.answered) this.waiting.push({ start, from: this.answered, until });
    this.answered = Math.max(this.answered, until);
    this.next = start + frames;
  }

  // Nothing was shown until now, `seconds` after the session began.
  pass(seconds) {
    this.waiting = [];
    this.answered = Math.max(this.answered, Math.round(seconds * FRAME_RATE));
  }

  // The face is at `position`, in frames, and the speaker at `seconds` of the same session.
  look(position, seconds) {
    while (this.waiting.length && position >= this.waiting[0].start) {
      const { from, until } = this.waiting.shift();
      for (let frame = Math.max(from, until - REMEMBERED_FRAMES); frame < until; frame += 1) {
        this.delays.push(seconds - frame / FRAME_RATE);
      }
    }
    if (this.delays.length > REMEMBERED_FRAMES) this.delays.splice(0, this.delays.length - REMEMBERED_FRAMES);
  }

  // The share q of the delays of the last two minutes is not longer than this; null before there are any.
  quantile(q) {
    if (!this.delays.length) return null;
    const sorted = Float64Array.from(this.delays).sort();
    return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];
  }
}
