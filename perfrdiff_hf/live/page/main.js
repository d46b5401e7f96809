// The page: from what is chosen to a session, and from its segments to heads that move.

import { ask, Connection } from "./connection.js";
import { DelayMeter } from "./delay.js";
import { Faces } from "./faces.js";
import { recall, remember } from "./memory.js";
import { People } from "./people.js";
import { Recorder } from "./recorder.js";
import { closeFile, openDevices, openFile, SoundSource } from "./sources.js";
import { Stage } from "./head.js";
import { Tracker } from "./tracker.js";

const $ = (id) => document.getElementById(id);
const parameters = new URLSearchParams(location.search);
// Settings that are saved with a model, and may be chosen otherwise.
const SAVED = ["steps", "hop"];
// What a test may read: the faces that are shown, delays, and what was counted.
const page = (window.page = { ready: false, tracked: 0, seen: 0, pieces: 0, segments: 0, faces: [] });

let about = null;
let faces = null;
let tracker = null;
let recorder = null;
let session = null;

main().catch((error) => complain(error));

async function main() {
  setTheme();
  about = await (await ask("api/about")).json();
  if (!about.installed) throw new Error("The page's libraries are missing. Run: perfrdiff serve --install");
  fillSettings();
  tell("Loading the head ...");
  const stage = await Stage.load("head.glb", about.blendshapes);
  faces = new Faces($("stage"), stage, about.blendshapes, Number(parameters.get("fps")) || 60);
  faces.onDraw = () => session?.meter?.look(faces.position(0), session.clock());
  recorder = new Recorder(about.recording_seconds, showRecording);
  const people = new People({ tracker: openTracker, model: () => $("model").value, onChange: showListeners });
  addListener();
  listenToButtons(people);
  $("start").disabled = false;
  page.ready = true;
  tell(about.face_model ? "Ready." : "Ready, for sound alone: the server was started without a face model.");
  setInterval(showFigures, 500);
}

function listenToButtons(people) {
  $("controls").addEventListener("submit", (event) => {
    event.preventDefault();
    if (session) end("");
    else begin();
  });
  for (const source of document.getElementsByName("source")) {
    source.addEventListener("change", () => ($("file").disabled = $("source-devices").checked));
  }
  $("add-listener").addEventListener("click", addListener);
  $("open-people").addEventListener("click", () => people.open(about.listeners));
  $("model").addEventListener("change", showModel);
  $("rest").addEventListener("click", () => session?.connection.say({ type: "rest" }));
  $("record").addEventListener("click", record);
  for (const suffix of about.formats) {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", textContent: suffix });
    button.setAttribute("aria-label", `Download ${suffix}`);
    button.addEventListener("click", () => save(suffix, button));
    $("formats").append(button);
  }
  addEventListener("pagehide", () => session?.connection.stop());
  // Browsers draw nothing of a page that cannot be seen.
  document.addEventListener("visibilitychange", () => session?.meter?.pass(session.clock()));
}

function fillSettings() {
  $("model").replaceChildren(...about.models.map(({ name }) => new Option(name, name)));
  const numbers = Array.from({ length: about.most.reactions }, (_, index) => index + 1);
  $("reactions").replaceChildren(...numbers.map((number) => new Option(number, number)));
  for (const name of SAVED) [$(name).min, $(name).max] = about.most[name];
  $("use-face").checked = about.face_model;
  $("use-face").disabled = !about.face_model;
  showModel();
}

function showModel() {
  const model = about.models.find(({ name }) => name === $("model").value);
  for (const name of SAVED) $(name).placeholder = model[name] ? `${model[name]}, as saved` : "as saved";
  $("open-people").disabled = !(model.personal && about.face_model);
}

function addListener() {
  const boxes = $("listeners");
  if (boxes.children.length >= about.most.listeners) return;
  const box = document.createElement("div");
  box.className = "row";
  const select = document.createElement("select");
  select.setAttribute("aria-label", `Listener ${boxes.children.length + 1}`);
  select.addEventListener("change", arrange);
  box.append(select);
  if (boxes.children.length) {
    const remove = document.createElement("button");
    Object.assign(remove, { type: "button", textContent: "Remove" });
    remove.addEventListener("click", () => {
      box.remove();
      arrange();
    });
    box.append(remove);
  }
  boxes.append(box);
  showListeners(about.listeners);
}

// The saved listeners have changed; a new one is chosen where nobody in particular was.
function showListeners(names, made) {
  about.listeners = names;
  for (const select of $("listeners").querySelectorAll("select")) {
    const chosen = select.value;
    select.replaceChildren(new Option("nobody in particular", ""), ...names.map((name) => new Option(name, name)));
    select.value = names.includes(chosen) ? chosen : "";
  }
  const free = [...$("listeners").querySelectorAll("select")].find((select) => !select.value);
  if (made && free && !session) free.value = made;
  arrange();
}

const chosenListeners = () => [...$("listeners").querySelectorAll("select")].map((select) => select.value);

function arrange() {
  $("add-listener").disabled = Boolean(session) || chosenListeners().length >= about.most.listeners;
  if (!session) faces.arrange(chosenListeners(), Number($("reactions").value));
}

async function openTracker() {
  if (!tracker) {
    tell("Loading the face tracker ...");
    tracker = await Tracker.open(about.blendshapes);
    tell("");
  }
  return tracker;
}

function wishes() {
  const [steps, hop] = SAVED.map((name) => $(name).value);
  return {
    model: $("model").value,
    listeners: chosenListeners(),
    sound: $("use-sound").checked,
    face: $("use-face").checked,
    num_reactions: Number($("reactions").value),
    ...(steps && { num_inference_steps: Number(steps) }),
    ...(hop && { hop: Number(hop) }),
    ...(parameters.has("seed") && { seed: Number(parameters.get("seed")) }),
  };
}

async function begin() {
  $("start").disabled = true;
  complain(null);
  session = { wishes: wishes(), sound: null, video: null, began: performance.now() };
  try {
    if (!session.wishes.sound && !session.wishes.face) throw new Error("Choose sound, face or both.");
    await openSource(session);
    if (session.wishes.face) await openTracker();
    tell("Connecting ...");
    connect(session);
  } catch (error) {
    await end("");
    complain(error);
  }
}

async function openSource(current) {
  const isFile = $("source-file").checked;
  const video = freshVideo();
  current.video = video;
  $("preview").classList.toggle("is-camera", !isFile);
  $("preview").hidden = !(isFile || current.wishes.face);
  if (isFile) {
    const file = $("file").files[0];
    if (!file) throw new Error("Choose a video file.");
    await openFile(video, file);
    if (current.wishes.face && !video.videoWidth) throw new Error("This file has no picture. Switch the face off.");
    video.addEventListener("ended", () => tell("The file has ended."));
  } else {
    current.stream = await openDevices(current.wishes);
    video.srcObject = current.stream;
  }
  video.muted = !(isFile && current.wishes.sound);
  if (current.wishes.sound) {
    current.sound = new SoundSource((piece) => hear(current, piece));
    await current.sound.open(isFile ? { element: video } : { stream: current.stream });
  }
  if (!isFile) await video.play();
}

// An element whose sound was taken once cannot be taken from again.
function freshVideo() {
  const video = $("video").cloneNode();
  $("video").replaceWith(video);
  return video;
}

function connect(current) {
  faces.arrange(current.wishes.listeners, current.wishes.num_reactions);
  recorder.forget();
  current.connection = new Connection(current.wishes, {
    started: (message) => started(current, message),
    segment: (segment) => take(current, segment),
    said: ({ type, message }) => (type === "error" ? complain(new Error(message)) : tell(message)),
    ended: ({ reason, message }) => {
      if (session !== current) return;
      end(message);
      if (reason !== "stopped") complain(new Error(message));
    },
  });
}

function started(current, { lag, notes }) {
  current.meter = new DelayMeter(lag);
  current.began = performance.now();
  current.sound?.restart();
  current.clock = () => (current.sound ? current.sound.seconds : (performance.now() - current.began) / 1000);
  if (current.wishes.face) {
    tracker.start(current.video, current.clock, (row) => see(current, row), complain);
  }
  if ($("source-file").checked) current.video.play();
  Object.assign($("start"), { disabled: false, textContent: "Stop" });
  for (const id of ["rest", "record"]) $(id).disabled = false;
  $("rest").disabled = !current.wishes.face;
  for (const group of ["sources", "settings"]) $(group).disabled = true;
  for (const select of $("listeners").querySelectorAll("select, button")) select.disabled = true;
  $("add-listener").disabled = $("open-people").disabled = true;
  tell(["Listening.", ...notes].join(" "));
}

function hear(current, piece) {
  page.pieces += 1;
  $("level").value = Math.min(1, 4 * loudness(piece));
  current.connection?.sendSound(piece);
}

function loudness(piece) {
  let sum = 0;
  for (const sample of piece) sum += (sample / 32768) ** 2;
  return Math.sqrt(sum / piece.length);
}

function see(current, row) {
  page.tracked += 1;
  page.seen += row[1];
  page.speaker = row;
  current.connection?.sendFaces(row);
}

function take(current, segment) {
  if (session !== current) return;
  page.segments += 1;
  faces.add(segment);
  recorder.add(segment, faces.slowest);
  if (segment.listener === 0) current.meter.add(segment.start, segment.rows[0].length);
}

async function end(message) {
  const current = session;
  session = null;
  if (!current) return;
  $("start").disabled = true; // a second click must not begin another while this one ends
  current.connection?.stop();
  tracker?.stop();
  await current.sound?.close();
  for (const track of current.stream?.getTracks() || []) track.stop();
  $("preview").hidden = true;
  if (current.video) {
    current.video.srcObject = null;
    closeFile(current.video);
  }
  if (recorder.isOn) recorder.end();
  Object.assign($("start"), { disabled: false, textContent: "Start" });
  for (const id of ["rest", "record"]) $(id).disabled = true;
  for (const group of ["sources", "settings"]) $(group).disabled = false;
  for (const select of $("listeners").querySelectorAll("select, button")) select.disabled = false;
  $("level").value = 0;
  showModel();
  $("add-listener").disabled = chosenListeners().length >= about.most.listeners;
  tell(message || "Stopped.");
}

function record() {
  if (recorder.isOn) {
    recorder.end();
  } else {
    $("saved").textContent = "";
    $("downloads").hidden = true;
    $("record").textContent = "Stop recording";
    recorder.begin(faces.slowest);
  }
}

function showRecording() {
  const options = [...recorder.tracks].flatMap(([listener, reactions]) =>
    reactions.map((_, reaction) => new Option(faces.title(listener, reaction), `${listener},${reaction}`)),
  );
  $("whose").replaceChildren(...options);
  $("downloads").hidden = !options.length;
  $("record").textContent = "Record";
}

async function save(suffix, button) {
  // As it was called when it was recorded; others may be chosen by now.
  const name = $("whose").selectedOptions[0].textContent.replace(/\W+/g, "_");
  const [listener, reaction] = $("whose").value.split(",").map(Number);
  button.disabled = true;
  $("saved").textContent = suffix === "mp4" ? "Drawing the video takes about as long as it lasts ..." : "";
  try {
    await recorder.save(listener, reaction, suffix, name);
    $("saved").textContent = `The ${suffix} file was saved.`;
  } catch (error) {
    $("saved").textContent = error.message;
  } finally {
    button.disabled = false;
  }
}

function showFigures() {
  if (session?.meter) {
    page.delay = { median: session.meter.quantile(0.5), p95: session.meter.quantile(0.95) };
    page.delays = session.meter.delays.length;
    const seconds = (value) => (value === null ? "-" : `${value.toFixed(1)} s`);
    $("median").textContent = seconds(page.delay.median);
    $("p95").textContent = seconds(page.delay.p95);
    $("late").textContent = faces.late;
    const { rows, seen, milliseconds } = tracker || {};
    $("heard").textContent = session.wishes.face
      ? `A face in ${seen} of ${rows} pictures, ${milliseconds.toFixed(0)} ms each. No picture leaves this browser.`
      : "Sound alone is heard.";
  }
  page.faces = faces.shown;
  page.position = faces.position(0);
  page.late = faces.late;
  page.drawn = faces.drawn;
  if (recorder.isOn) $("recorded").textContent = `${recorder.seconds.toFixed(0)} s`;
  else $("recorded").textContent = recorder.seconds ? `${recorder.seconds.toFixed(1)} s recorded.` : "Nothing is recorded.";
}

function tell(text) {
  $("status").textContent = text;
}

function complain(error) {
  $("wrong").hidden = !error;
  $("wrong").textContent = error ? error.message : "";
  if (error) console.warn(error);
}

function setTheme() {
  const root = document.documentElement;
  const saved = recall("localStorage", "theme");
  if (saved) root.dataset.theme = saved;
  const isDark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const show = () => $("theme").setAttribute("aria-pressed", isDark());
  $("theme").addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    remember("localStorage", "theme", root.dataset.theme);
    show();
  });
  show();
}
