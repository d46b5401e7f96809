// In the thread of the sound: mono, 16,000 samples a second, in pieces of a tenth of a second.

const RATE = 16000;
const PIECE = 1600;

class Listener extends AudioWorkletProcessor {
  constructor() {
    super();
    this.piece = new Int16Array(PIECE);
    this.filled = 0;
    // Where the context has another rate, each new sample is the mean of those that it stands for.
    this.owed = 0;
    this.sum = this.count = 0;
  }

  process([channels]) {
    const length = channels.length ? channels[0].length : 128;
    for (let index = 0; index < length; index += 1) {
      let sample = 0;
      for (const channel of channels) sample += channel[index] / channels.length;
      this.sum += sample;
      this.count += 1;
      this.owed += RATE / sampleRate;
      if (this.owed >= 1) {
        this.owed -= 1;
        this.push(this.sum / this.count);
        this.sum = this.count = 0;
      }
    }
    return true;
  }

  push(sample) {
    this.piece[this.filled] = Math.round(32767 * Math.min(1, Math.max(-1, sample)));
    this.filled += 1;
    if (this.filled === PIECE) {
      this.port.postMessage(this.piece, [this.piece.buffer]);
      this.piece = new Int16Array(PIECE);
      this.filled = 0;
    }
  }
}

registerProcessor("listener", Listener);
