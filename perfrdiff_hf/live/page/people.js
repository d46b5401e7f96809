// The dialog in which a listener is made of half a minute of somebody's face, or removed.

import { ask } from "./connection.js";
import { closeFile, openDevices, openFile } from "./sources.js";

const SECONDS = 30;
// How often what is counted is told; a screen reader reads all of it.
const TELL_SECONDS = 5;
const $ = (id) => document.getElementById(id);

export class People {
  // tracker(): opens or gives the face tracker. onChange(names): there are other listeners now.
  constructor({ tracker, model, onChange }) {
    Object.assign(this, { tracker, model, onChange, attempt: null });
    this.dialog = $("people");
    $("people-form").addEventListener("submit", (event) => this.make(event));
    $("people-close").addEventListener("click", () => this.dialog.close());
    $("people-remove").addEventListener("click", () => this.remove());
    this.dialog.addEventListener("close", () => this.stop());
    for (const source of document.getElementsByName("people-source")) {
      source.addEventListener("change", () => ($("people-file").disabled = $("people-camera").checked));
    }
  }

  open(names) {
    this.show(names);
    this.tell("");
    this.dialog.showModal();
  }

  show(names) {
    const options = names.map((name) => new Option(name, name));
    $("people-saved").replaceChildren(...options);
    $("people-known").hidden = !names.length;
  }

  tell(text, isWrong = false) {
    $("people-said").textContent = text;
    $("people-said").classList.toggle("wrong", isWrong);
  }

  async make(event) {
    event.preventDefault();
    if (this.attempt) return;
    const attempt = (this.attempt = {});
    $("people-make").disabled = true;
    try {
      const name = $("people-name").value.trim();
      const rows = await this.record(attempt);
      this.check(attempt);
      this.tell("Making the listener ...");
      const path = `api/listeners/${encodeURIComponent(name)}?model=${encodeURIComponent(this.model())}`;
      const answer = await ask(path, { method: "POST", body: rows });
      const { listeners } = await answer.json();
      this.show(listeners);
      this.onChange(listeners, name);
      this.tell(`${name} listens from now on.`);
    } catch (error) {
      if (this.attempt === attempt) this.tell(error.message, true);
    } finally {
      if (this.attempt === attempt) this.stop();
    }
  }

  // Rows of somebody's face: half a minute of the camera, or at most a minute of a file.
  async record(attempt) {
    const video = $("people-video");
    const file = $("people-file").files[0];
    const isCamera = $("people-camera").checked;
    if (!isCamera && !file) throw new Error("Choose a video file.");
    const running = await this.tracker();
    this.check(attempt);
    if (isCamera) {
      const stream = await openDevices({ sound: false, face: true });
      this.check(attempt, stream);
      this.stream = stream;
      video.srcObject = this.stream;
    } else {
      await openFile(video, file);
    }
    video.muted = true;
    await video.play();
    this.check(attempt);
    this.running = running;
    const seconds = isCamera ? SECONDS : Math.min(2 * SECONDS, video.duration || SECONDS);
    const began = performance.now();
    const clock = isCamera ? () => (performance.now() - began) / 1000 : () => video.currentTime;
    return new Promise((resolve, reject) => {
      const rows = [];
      let told = -TELL_SECONDS;
      this.finish = () => resolve(joined(rows));
      const onRow = (row) => {
        if (rows.length && row[0] < rows[rows.length - 1][0]) return;
        rows.push(row);
        $("people-progress").value = Math.min(1, row[0] / seconds);
        if (row[0] >= told + TELL_SECONDS) {
          told = row[0];
          const seen = rows.filter((one) => one[1]).length;
          this.tell(`${Math.floor(row[0])} of ${Math.round(seconds)} s; a face in ${seen} of ${rows.length} pictures`);
        }
        if (row[0] >= seconds - 0.1 || video.ended) resolve(joined(rows));
      };
      video.onended = this.finish;
      this.running.start(video, clock, onRow, reject);
    });
  }

  // The dialog may have been closed while something was waited for, such as leave to use the camera.
  check(attempt, stream) {
    if (this.attempt === attempt) return;
    for (const track of stream?.getTracks() || []) track.stop();
    throw new Error("The dialog was closed.");
  }

  stop() {
    this.attempt = null;
    this.finish?.();
    this.finish = null;
    $("people-make").disabled = false;
    $("people-progress").value = 0;
    this.running?.stop();
    this.running = null; // a session may use the tracker next
    for (const track of this.stream?.getTracks() || []) track.stop();
    this.stream = null;
    const video = $("people-video");
    video.onended = null;
    video.srcObject = null;
    closeFile(video);
  }

  async remove() {
    const name = $("people-saved").value;
    if (!name || !confirm(`Remove ${name}? What was learned of this person is deleted.`)) return;
    try {
      const answer = await ask(`api/listeners/${encodeURIComponent(name)}`, { method: "DELETE" });
      const { listeners } = await answer.json();
      this.show(listeners);
      this.onChange(listeners);
      this.tell(`${name} is gone.`);
    } catch (error) {
      this.tell(error.message, true);
    }
  }
}

function joined(rows) {
  const numbers = new Float32Array(rows.length * 57);
  rows.forEach((row, index) => numbers.set(row, 57 * index));
  return numbers;
}
