// The two ways to the server: requests, and a WebSocket; see perfrdiff_hf/live/messages.py for the bytes.

import { recall, remember } from "./memory.js";
import { WIDTH } from "./playout.js";

const FACES = 1;
const SOUND = 2;
export const REACTION_WIDTH = 83;
const token = takeToken();

function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  // It stays in the address where a reload could find it nowhere else.
  if (given && remember("sessionStorage", "token", given)) {
    history.replaceState(null, "", location.pathname + location.search);
  }
  return given || recall("sessionStorage", "token");
}

// A request to the server; what it says went wrong becomes the error's message.
export async function ask(path, options = {}) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch {
    throw new Error("The server does not answer. Is it still running?");
  }
  if (!answer.ok) {
    const text = await answer.text();
    let said = text;
    try {
      said = JSON.parse(text).error;
    } catch {
      // it is text already
    }
    throw new Error(said || `The server answered with ${answer.status}.`);
  }
  return answer;
}

// A session. `on` holds started(message), segment(segment), said(message) and ended(message).
export class Connection {
  constructor(wishes, on) {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    this.on = on;
    this.isStarted = this.isOver = false;
    // Addresses end up in logs, and browsers let a page choose no other header; see perfrdiff_hf/live/doors.py.
    this.socket = new WebSocket(`${scheme}://${location.host}/live`, token ? ["perfrdiff", token] : []);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => this.say({ type: "start", ...wishes });
    this.socket.onmessage = ({ data }) => this.take(data);
    this.socket.onclose = () => this.end({ reason: "lost", message: "The connection to the server was lost." });
  }

  take(data) {
    if (typeof data !== "string") {
      this.on.segment(decodeSegment(data));
      return;
    }
    const message = JSON.parse(data);
    if (message.type === "started") {
      this.isStarted = true;
      this.on.started(message);
    } else if (message.type === "ended") {
      this.end(message);
    } else {
      this.on.said(message);
    }
  }

  end(message) {
    if (this.isOver) return;
    this.isOver = true;
    this.on.ended(message);
    this.socket.close();
  }

  say(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  // Int16Array of samples.
  sendSound(samples) {
    this.send(SOUND, new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength));
  }

  // Float32Array of one or more rows.
  sendFaces(rows) {
    this.send(FACES, new Uint8Array(rows.buffer, rows.byteOffset, rows.byteLength));
  }

  send(kind, bytes) {
    if (!this.isStarted || this.socket.readyState !== WebSocket.OPEN) return;
    const message = new Uint8Array(4 + bytes.length);
    message[0] = kind;
    message.set(bytes, 4);
    this.socket.send(message);
  }

  stop() {
    this.say({ type: "stop" });
    this.end({ reason: "stopped", message: "" });
  }
}

// { listener, start, faces: [reaction][frame] of 55, rows: [reaction][frame] of 83 }
function decodeSegment(buffer) {
  const view = new DataView(buffer);
  const [number, start, frames] = [view.getUint16(2, true), view.getUint32(4, true), view.getUint32(8, true)];
  const numbers = new Float32Array(buffer, 12);
  const rows = numbers.subarray(number * frames * WIDTH);
  return {
    listener: view.getUint8(1),
    start,
    faces: cut(numbers, number, frames, WIDTH),
    rows: cut(rows, number, frames, REACTION_WIDTH),
  };
}

function cut(numbers, reactions, frames, width) {
  const row = (reaction, frame) => numbers.subarray((reaction * frames + frame) * width).subarray(0, width);
  const every = (count, make) => Array.from({ length: count }, (_, index) => make(index));
  return every(reactions, (reaction) => every(frames, (frame) => row(reaction, frame)));
}
