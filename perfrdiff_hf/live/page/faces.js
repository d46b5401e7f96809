// The listeners on the screen: a card with a head for each, as often as the machine can draw them.

import { Playout, WIDTH } from "./playout.js";

// Drawing may take this share of the time; the tracker needs the rest.
const DRAWING_SHARE = 0.3;
const SOFTWARE_RATE = 8;
const SIZES = { hardware: 512, software: 256 };
const MOOD_SECONDS = 1.5;
const MOODS = [
  [["mouthSmileLeft", "mouthSmileRight"], 0.35, "smiles"],
  [["mouthFrownLeft", "mouthFrownRight"], 0.3, "corners of the mouth down"],
  [["jawOpen"], 0.25, "mouth open"],
  [["browInnerUp"], 0.35, "brows up"],
  [["browDownLeft", "browDownRight"], 0.4, "brows down"],
  [["eyeBlinkLeft", "eyeBlinkRight"], 0.6, "eyes shut"],
];

export class Faces {
  // fastest: frames a second.
  constructor(place, stage, names, fastest) {
    Object.assign(this, { place, stage, cards: [], drawn: 0 });
    this.fastest = stage.isSoftware ? Math.min(fastest, SOFTWARE_RATE) : fastest;
    this.moods = MOODS.map(([shapes, least, text]) => [shapes.map((name) => names.indexOf(name)), least, text]);
    this.cost = 0;
    this.onDraw = () => {};
    this.draw = this.draw.bind(this);
    this.schedule();
  }

  // A card for each listener, with fresh buffers for each reaction.
  arrange(listeners, reactions) {
    this.cards = listeners.map((name, number) => makeCard(name, number, reactions, this.stage.isSoftware));
    this.place.replaceChildren(...this.cards.map((card) => card.figure));
  }

  add({ listener, start, faces }) {
    const now = performance.now() / 1000;
    this.cards[listener]?.playouts.forEach((playout, reaction) => playout.add(start, faces[reaction], now));
  }

  title(listener, reaction) {
    const { name, playouts } = this.cards[listener];
    return playouts.length > 1 ? `${name}, reaction ${reaction + 1}` : name;
  }

  position(listener) {
    return this.cards[listener]?.playouts[0].position ?? 0;
  }

  // Of the listener who is furthest behind.
  get slowest() {
    return Math.min(...this.cards.map((_, listener) => this.position(listener)));
  }

  get late() {
    return this.cards.reduce((total, card) => total + card.playouts[0].lateSegments, 0);
  }

  get shown() {
    return this.cards.map((card) => Array.from(card.face));
  }

  schedule() {
    const pause = Math.max(1 / this.fastest, this.cost / DRAWING_SHARE);
    setTimeout(() => requestAnimationFrame(this.draw), Math.max(0, 1000 * pause - 17));
  }

  draw() {
    const began = performance.now();
    for (const card of this.cards) {
      for (const [reaction, playout] of card.playouts.entries()) {
        const face = playout.at(began / 1000);
        if (reaction === card.reaction) card.face = face;
      }
      this.stage.draw(card.canvas, card.face);
      this.describe(card, began / 1000);
    }
    this.drawn += 1;
    this.onDraw();
    this.cost = 0.8 * this.cost + (0.2 * (performance.now() - began)) / 1000;
    this.schedule();
  }

  // The same in words, for those who do not see the head.
  describe(card, now) {
    if (now < card.described + MOOD_SECONDS) return;
    card.described = now;
    const mean = (channels) => channels.reduce((sum, channel) => sum + card.face[channel], 0) / channels.length;
    const seen = this.moods.filter(([channels, least]) => mean(channels) > least).map(([, , text]) => text);
    const text = seen.join(", ") || "calm";
    if (card.mood.textContent !== text) card.mood.textContent = text;
    card.canvas.setAttribute("aria-label", `${card.name}: ${text}`);
  }
}

function makeCard(saved, number, reactions, isSoftware) {
  const name = saved || `Listener ${number + 1}`;
  const figure = document.createElement("figure");
  figure.className = "listener";
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = isSoftware ? SIZES.software : SIZES.hardware;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `${name}: calm`);
  const caption = document.createElement("figcaption");
  const title = document.createElement("strong");
  title.textContent = name;
  const mood = document.createElement("span");
  mood.className = "mood";
  caption.append(title, mood);
  const playouts = Array.from({ length: reactions }, () => new Playout());
  const card = { name, figure, canvas, mood, playouts, reaction: 0, face: new Float64Array(WIDTH), described: 0 };
  if (reactions > 1) caption.append(reactionChoice(card, name));
  figure.append(canvas, caption);
  return card;
}

function reactionChoice(card, name) {
  const select = document.createElement("select");
  select.setAttribute("aria-label", `Which reaction of ${name}`);
  card.playouts.forEach((_, reaction) => select.append(new Option(`reaction ${reaction + 1}`, reaction)));
  select.addEventListener("change", () => (card.reaction = Number(select.value)));
  return select;
}
