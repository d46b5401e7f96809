// Smooth time: the same as perfrdiff_hf/live/playout.py, for faces of 55 numbers; a test compares the two.

export const FRAME_RATE = 25;
export const WIDTH = 55;
const BRAKING_FRAMES = 3;
const LARGEST_CHANGE = 0.1;
const BLEND_SECONDS = 0.4;
const REMEMBERED_SEGMENTS = 8;
const clamp = (value, least, most) => Math.min(Math.max(value, least), most);

export class Playout {
  constructor(minDelay = 0.2, maxDelay = 2.0) {
    this.minDelay = minDelay;
    this.maxDelay = maxDelay;
    this.shown = new Float64Array(WIDTH);
    this.blendFrom = this.shown;
    this.segments = this.lateSegments = this.missingFrames = 0;
    this.frames = [];
    this.first = this.origin = 0;
    this.position = 0;
    this.began = null;
    this.last = 0;
    this.lateness = [];
  }

  // Take frames (arrays of 55) of which the first is frame `start` of the session, now, in seconds.
  add(start, frames, now) {
    let end = this.first + this.frames.length;
    if (this.began !== null && start - end > FRAME_RATE * this.maxDelay) {
      // A line over so long a gap would keep the face behind for as long again.
      this.missingFrames += start - end;
      this.frames = [];
      this.began = null;
      this.blendFrom = this.shown;
      this.lateness = [];
    }
    if (this.began === null) {
      this.began = this.last = now;
      this.first = this.origin = this.position = end = start;
    } else {
      this.advance(now);
      end = this.first + this.frames.length;
      if (this.position > end - 1 - BRAKING_FRAMES) this.lateSegments += 1;
    }
    this.segments += 1;
    this.lateness.push(now - this.began - (start - this.origin) / FRAME_RATE);
    if (this.lateness.length > REMEMBERED_SEGMENTS) this.lateness.shift();
    if (start > end) {
      this.bridge(start - end, frames[0]);
      end = start;
    }
    this.frames.push(...frames.slice(end - start));
  }

  bridge(missing, next) {
    const last = this.frames[this.frames.length - 1];
    for (let step = 1; step <= missing; step += 1) this.frames.push(mixed(last, next, step / (missing + 1)));
    this.missingFrames += missing;
  }

  // How the face is now.
  at(now) {
    if (this.began !== null) {
      this.advance(now);
      const whole = Math.floor(this.position);
      const one = this.frames[whole - this.first];
      const other = this.frames[Math.min(whole + 1 - this.first, this.frames.length - 1)];
      const share = clamp((now - this.began) / BLEND_SECONDS, 0, 1);
      const face = mixed(one, other, this.position - whole);
      this.shown = mixed(this.blendFrom, face, share * share * (3 - 2 * share));
    }
    return this.shown;
  }

  get delay() {
    const margin = (BRAKING_FRAMES + 2) / FRAME_RATE;
    const late = this.lateness.length ? Math.max(...this.lateness) : 0;
    return Math.min(Math.max(late + margin, this.minDelay, margin), this.maxDelay);
  }

  advance(now) {
    while (this.last < now) {
      const step = Math.min(now - this.last, 0.5 / FRAME_RATE);
      this.last += step;
      const behind = this.last - this.began - (this.position - this.origin) / FRAME_RATE;
      if (this.position === this.origin && behind < this.delay) continue;
      const rate = 1 + clamp(behind - this.delay, -LARGEST_CHANGE, LARGEST_CHANGE);
      const left = this.first + this.frames.length - 1 - this.position;
      this.position += Math.min(step * FRAME_RATE * rate, (left * step * FRAME_RATE) / BRAKING_FRAMES);
    }
    const done = Math.floor(this.position) - this.first;
    if (done > 0) {
      this.frames.splice(0, done);
      this.first += done;
    }
  }
}

function mixed(one, other, share) {
  const face = new Float64Array(WIDTH);
  for (let channel = 0; channel < WIDTH; channel += 1) {
    face[channel] = one[channel] + share * (other[channel] - one[channel]);
  }
  return face;
}
