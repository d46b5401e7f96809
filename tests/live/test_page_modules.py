"""The page's own modules without a browser: they compute what the package computes. Needs Node.js."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perfrdiff_hf.behaviour import MEAN_FACE, STD_FACE
from perfrdiff_hf.faces.motion import face_motion
from perfrdiff_hf.live.playout import Playout


PAGE = Path(__file__).resolve().parents[2] / "perfrdiff_hf" / "live" / "page"

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")


# What modules find of a browser.
BROWSER = """
    globalThis.location = { hash: "", protocol: "http:", host: "here" };
    globalThis.sessionStorage = { getItem: () => null };
"""


def in_node(script: str, given: Any) -> Any:
    """What a script prints as JSON; it finds `given`, and the page's modules beside it."""
    begin = (
        f"import fs from 'node:fs'; const given = JSON.parse(fs.readFileSync(0)); const page = '{PAGE.as_uri()}';\n"
    )
    words = ["node", "--input-type=module", "-e", begin + script]
    done = subprocess.run(words, input=json.dumps(given), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_smooth_time_is_the_same_in_both_languages() -> None:
    """Segments on time, early, late, doubled, with a gap and with a long one, looked at 60 times a second."""
    rng = np.random.default_rng(0)
    steps = rng.standard_normal((460, 58)).cumsum(axis=0)
    faces = (MEAN_FACE + STD_FACE * steps / np.abs(steps).max()).astype(np.float32)
    motion = face_motion(faces)
    numbers = np.concatenate([motion.blendshapes, motion.rotation], axis=1).astype(np.float64)
    segments = [
        (0, 50, 10.0),
        (50, 100, 11.9),
        (100, 150, 15.2),
        (140, 200, 16.0),
        (220, 300, 18.5),
        (300, 350, 21.0),
        (410, 460, 25),
    ]
    moments = np.arange(10, 28, 1 / 60).tolist()

    playout, expected = Playout(), []
    waiting = list(segments)
    for now in moments:
        while waiting and waiting[0][2] <= now:
            start, end, at = waiting.pop(0)
            playout.add(start, faces[start:end], at)
        shown = playout.at(now)
        expected.append(np.concatenate([shown.blendshapes[0], shown.rotation[0]]))
    script = """
    const { Playout } = await import(`${page}/playout.js`);
    const playout = new Playout();
    const shown = given.moments.map((now) => {
      while (given.segments.length && given.segments[0][2] <= now) {
        const [start, end, at] = given.segments.shift();
        playout.add(start, given.faces.slice(start, end), at);
      }
      return Array.from(playout.at(now));
    });
    const { segments, lateSegments, missingFrames, delay } = playout;
    console.log(JSON.stringify({ shown, segments, lateSegments, missingFrames, delay }));
    """
    got = in_node(script, {"moments": moments, "segments": segments, "faces": numbers.tolist()})
    np.testing.assert_allclose(got["shown"], expected, atol=1e-5)
    assert got["lateSegments"] == playout.late_segments > 0
    assert got["missingFrames"] == playout.missing_frames == 80
    assert got["delay"] == pytest.approx(playout.delay)
    assert np.abs(np.diff(got["shown"], axis=0)).max() < 0.2  # it never jumps


def test_the_meter_of_delay() -> None:
    """Hops of 25 frames of which each is shown 0.3 s after the speaker's last frame: 0.3 to 1.3 s."""
    script = """
    const { DelayMeter } = await import(`${page}/delay.js`);
    const meter = new DelayMeter(given.lag);
    const none = meter.quantile(0.5);
    for (let start = 0; start < 5000; start += 25) {
      meter.add(start, 25);
      meter.look(start - 1, start / 25 + 0.2);
      meter.look(start, start / 25 + 0.3);
    }
    const [least, median, p95] = [0, 0.5, 0.95].map((q) => meter.quantile(q));
    console.log(JSON.stringify({ none, count: meter.delays.length, least, median, p95 }));
    """
    got = in_node(script, {"lag": 0})
    assert got["none"] is None and got["count"] == 3000
    assert got["least"] == pytest.approx(0.34) and got["median"] == pytest.approx(0.82) and got["p95"] > 1.2
    # A window that answers what lies 25 frames further back moves that much later.
    assert in_node(script, {"lag": 25})["median"] == pytest.approx(1.82)


def test_only_what_is_answered_and_seen_counts_as_delay() -> None:
    """Ten seconds are left out, later the page is hidden for ten; each segment is shown 0.3 s after its moment."""
    script = """
    const { DelayMeter } = await import(`${page}/delay.js`);
    const meter = new DelayMeter(0);
    const counts = [];
    const play = (first, last, isSeen) => {
      for (let start = first; start < last; start += 25) {
        meter.add(start, 25);
        if (isSeen) meter.look(start, start / 25 + 0.3);
      }
      counts.push(meter.delays.length);
    };
    play(0, 250, true);
    play(500, 750, true);
    meter.pass(725 / 25);
    play(750, 1000, false);
    meter.pass(980 / 25);
    play(1000, 1250, true);
    console.log(JSON.stringify({ counts, most: meter.quantile(1) }));
    """
    got = in_node(script, None)
    assert got["most"] == pytest.approx(1.3)
    # 225 frames are answered by nine segments that follow one; of the hidden ones those after frame 980.
    assert got["counts"] == [225, 450, 450, 450 + 20 + 225]


def test_the_page_speaks_the_server_s_language() -> None:
    """A segment as the server encodes it, taken apart by the page."""
    from perfrdiff_hf.live.messages import encode_segment

    rng = np.random.default_rng(1)
    reactions = rng.standard_normal((2, 5, 83)).astype(np.float32)
    motions = [face_motion(MEAN_FACE + STD_FACE * rng.uniform(0, 1, (5, 58)).astype(np.float32)) for _ in range(2)]
    data = encode_segment(2, 75, motions, reactions)
    script = (
        BROWSER
        + """
    globalThis.WebSocket = class { close() {} };
    const { Connection } = await import(`${page}/connection.js`);
    let got = null;
    const connection = new Connection({}, { segment: (segment) => (got = segment) });
    connection.take(Uint8Array.from(given).buffer);
    const plain = (parts) => parts.map((part) => part.map((row) => Array.from(row)));
    console.log(JSON.stringify({ ...got, faces: plain(got.faces), rows: plain(got.rows) }));
    """
    )
    got = in_node(script, list(data))
    assert got["listener"] == 2 and got["start"] == 75
    np.testing.assert_allclose(got["rows"], reactions, atol=1e-6)
    for faces, motion in zip(got["faces"], motions):
        np.testing.assert_allclose(np.array(faces)[:, :52], motion.blendshapes, atol=1e-6)
        np.testing.assert_allclose(np.array(faces)[:, 52:], motion.rotation, atol=1e-6)


def test_the_token_is_sent_and_stands_in_no_address() -> None:
    """As a subprotocol, which browsers send in a header; and it leaves the address bar."""
    script = """
    globalThis.location = { hash: "#token=a-secret", protocol: "https:", host: "here", pathname: "/", search: "" };
    const kept = new Map();
    globalThis.sessionStorage = { getItem: (name) => kept.get(name), setItem: (name, value) => kept.set(name, value) };
    const shown = [];
    globalThis.history = { replaceState: (state, title, address) => shown.push(address) };
    const opened = [];
    globalThis.WebSocket = class { constructor(...words) { opened.push(words); } };
    const { Connection } = await import(`${page}/connection.js`);
    new Connection({}, {});
    console.log(JSON.stringify({ opened, shown, kept: [...kept] }));
    """
    assert in_node(script, None) == {
        "opened": [["wss://here/live", ["perfrdiff", "a-secret"]]],
        "shown": ["/"],
        "kept": [["token", "a-secret"]],
    }


def test_a_browser_that_remembers_nothing() -> None:
    """Frames of other sites may have no storage. The token then stays in the address, for a reload to find it."""
    script = """
    globalThis.location = { hash: "#token=a-secret", protocol: "http:", host: "here" };
    for (const where of ["sessionStorage", "localStorage"]) {
      const get = () => { throw new Error("denied"); };
      Object.defineProperty(globalThis, where, { get, configurable: true });
    }
    const { recall, remember } = await import(`${page}/memory.js`);
    const opened = [];
    globalThis.WebSocket = class { constructor(...words) { opened.push(words); } };
    const { Connection } = await import(`${page}/connection.js`);
    new Connection({}, {});
    const kept = remember("localStorage", "theme", "dark");
    console.log(JSON.stringify({ opened, kept, theme: recall("localStorage", "theme") }));
    """
    opened = [["ws://here/live", ["perfrdiff", "a-secret"]]]
    assert in_node(script, None) == {"opened": opened, "kept": False, "theme": None}


def test_a_recording_that_is_as_long_as_it_may_be_is_kept() -> None:
    """It ends by itself, and says so: the next click must not begin another in its place."""
    script = (
        BROWSER
        + """
    const { Recorder } = await import(`${page}/recorder.js`);
    let ended = 0;
    const recorder = new Recorder(given.seconds, () => (ended += 1));
    const rows = [Array.from({ length: 50 }, () => new Float32Array(83))];
    const lengths = [];
    recorder.begin(0);
    for (let start = 0; start < 250; start += 50) {
      recorder.add({ listener: 0, start, rows }, start);
      lengths.push([recorder.isOn, recorder.seconds, ended]);
    }
    console.log(JSON.stringify(lengths));
    """
    )
    got = in_node(script, {"seconds": 5})
    assert got == [[True, 2, 0], [True, 4, 0], [False, 5, 1], [False, 5, 1], [False, 5, 1]]


RECORDING = """
    const { Recorder } = await import(`${page}/recorder.js`);
    const recorder = new Recorder(given.seconds, () => {});
    const segment = (listener, start, frames) => {
      // Each frame is its own number, and the listener's.
      const rows = [Array.from({ length: frames }, (_, index) => Float32Array.of(start + index, listener))];
      return { listener, start, rows };
    };
    const held = () => [...recorder.tracks.values()].map((track) => track[0].map((row) => row[0]));
"""


def test_a_recording_that_begins_in_the_middle_holds_all_from_there_on() -> None:
    """Two segments have come that are not on the screen yet, and one that is; of two listeners, one frame apart."""
    script = (
        BROWSER
        + RECORDING
        + """
    for (let start = 0; start < 200; start += 50) {
      for (const listener of [0, 1]) recorder.add(segment(listener, start, 50), Math.max(0, start - 75));
    }
    recorder.begin(85.5);
    for (const listener of [0, 1]) recorder.add(segment(listener, 200, 50), 90);
    recorder.add(segment(0, 250, 50), 120); // and the button is pressed before the other's comes
    recorder.end();
    console.log(JSON.stringify({ held: held(), seconds: recorder.seconds, waiting: recorder.waiting.length }));
    """
    )
    got = in_node(script, {"seconds": 100})
    assert got["held"] == [list(range(86, 250))] * 2 and got["seconds"] == pytest.approx(164 / 25)
    assert got["waiting"] == 7  # what has been on the screen is not kept: 100 and after of both, and the last


def test_left_out_seconds_do_not_shift_a_recording() -> None:
    """The server began anew at frame 300, when one listener was further on than the other."""
    script = (
        BROWSER
        + RECORDING
        + """
    recorder.begin(0);
    for (const [listener, start] of [[0, 0], [1, 0], [0, 50], [0, 300], [1, 300]]) {
      recorder.add(segment(listener, start, 50), start);
    }
    recorder.end();
    console.log(JSON.stringify(held()));
    """
    )
    one, other = in_node(script, {"seconds": 100})
    assert one == [*range(100), *([99] * 200), *range(300, 350)]
    assert other == [*range(50), *([49] * 250), *range(300, 350)]


def test_listeners_are_recorded_equally_long() -> None:
    script = (
        BROWSER
        + RECORDING
        + """
    recorder.begin(0);
    const isOn = [];
    for (const [listener, start] of [[0, 0], [1, 0], [0, 50], [1, 50], [0, 100], [1, 100]]) {
      recorder.add(segment(listener, start, 50), start);
      isOn.push(recorder.isOn);
    }
    console.log(JSON.stringify({ isOn, lengths: held().map((frames) => frames.length) }));
    """
    )
    assert in_node(script, {"seconds": 4}) == {"isOn": [True, True, True, False, False, False], "lengths": [100, 100]}


def test_a_camera_that_is_allowed_after_the_dialog_was_closed_goes_off() -> None:
    """And what is told of a recording, to screen readers too, is told every five seconds."""
    script = (
        BROWSER
        + """
    const made = new Map();
    const element = (id) => {
      if (!made.has(id)) {
        const nothing = () => {};
        made.set(id, { id, files: [], checked: id === "people-camera", value: "alice", open: true, textContent: "",
          classList: { toggle: nothing }, addEventListener: nothing, removeAttribute: nothing, load: nothing,
          pause: nothing, play: async () => {} });
      }
      return made.get(id);
    };
    globalThis.document = { getElementById: element, getElementsByName: () => [] };
    let isOn = false;
    let allow = null;
    const stream = { getTracks: () => [{ stop: () => (isOn = false) }] };
    const getUserMedia = () => new Promise((resolve) => (allow = () => resolve((isOn = true) && stream)));
    Object.defineProperty(globalThis, "navigator", { value: { mediaDevices: { getUserMedia } } });
    let onRow = null;
    const tracker = { start: (video, clock, take) => (onRow = take), stop: () => (tracker.stops += 1), stops: 0 };
    const { People } = await import(`${page}/people.js`);
    const people = new People({ tracker: async () => tracker, model: () => "tiny", onChange: () => {} });
    const later = () => new Promise((resolve) => setTimeout(resolve, 5));
    const event = { preventDefault: () => {} };

    people.make(event);
    await later();
    element("people").open = false;
    people.stop(); // as the dialog does when it closes
    allow();
    await later();
    const afterClosing = [isOn, onRow !== null, tracker.stops];

    element("people").open = true;
    people.make(event);
    await later();
    allow();
    await later();
    const told = new Set();
    for (let picture = 0; picture < 250; picture += 1) {
      onRow(Float32Array.from({ length: 57 }, (_, index) => (index ? 1 : picture / 25)));
      told.add(element("people-said").textContent);
    }
    const whileTaking = isOn;
    people.stop();
    console.log(JSON.stringify({ afterClosing, whileTaking, told: told.size, isOn }));
    """
    )
    got = in_node(script, None)
    assert got == {"afterClosing": [False, False, 0], "whileTaking": True, "told": 2, "isOn": False}
