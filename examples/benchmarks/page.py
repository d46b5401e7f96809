"""From speaking to moving: the delay of the live page in a real browser, with a made-up camera and microphone.

    python examples/benchmarks/page.py --model demo_output/model --speech speech.wav --video face.mp4 --minutes 2

Starts `perfrdiff serve` and Chromium without a window, plays the speech and the face over and over, and prints what
the page's own meter says: how long after a moment of the speaker the first frame that answers it was drawn, over its
last two minutes. Needs Playwright for Python, Debian's `chromium` (or any, named by CHROMIUM), and the page's
libraries (`perfrdiff serve --install`). Server, tracker and drawing share this machine: a busy one gives upper
bounds, and the load is printed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import soundfile
import soxr
from playwright.sync_api import Page, sync_playwright

from perfrdiff_hf.data.audio import read_audio


REPORT_SECONDS = 10
CAMERA_SIZE = (480, 270)
MICROPHONE_RATE = 48000


def main() -> None:
    """Serve, open the page, and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder of a saved pipeline")
    parser.add_argument("--speech", required=True, help="what the microphone hears: a sound, or a video with sound")
    parser.add_argument("--video", help="what the camera sees (default: no camera, sound alone)")
    parser.add_argument("--face_model", help="face_landmarker.task (default: as `perfrdiff track` downloads it)")
    parser.add_argument("--listeners", help="folder of saved listeners (default: none)")
    parser.add_argument("--listener", default="", help="one of them (default: nobody in particular)")
    parser.add_argument("--steps", type=int, help="of denoising (default: the model's)")
    parser.add_argument("--hop", type=int, help="frames that each window gives (default: the model's)")
    parser.add_argument("--fps", type=int, default=8, help="pictures a second that the page draws at most (default 8)")
    parser.add_argument("--minutes", type=float, default=2, help="of the session (default 2)")
    parser.add_argument("--patience", type=float, default=180, help="seconds that anything may take (default 180)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        devices = record_devices(options.speech, options.video, Path(folder))
        with serving(options, Path(folder)) as address, opened(address, devices, options) as page:
            speak(page, options)


def record_devices(speech: str, video: str | None, folder: Path) -> list[str]:
    """What Chromium plays as microphone and camera, as words of its command line."""
    waveform, rate = read_audio(speech)
    soundfile.write(folder / "microphone.wav", soxr.resample(waveform, rate, MICROPHONE_RATE), MICROPHONE_RATE)
    words = [f"--use-file-for-fake-audio-capture={folder / 'microphone.wav'}"]
    if video:
        with av.open(video) as source, open(folder / "camera.mjpeg", "wb") as camera:
            for frame in source.decode(video=0):
                frame.to_image().resize(CAMERA_SIZE).save(camera, "JPEG", quality=85)
        words.append(f"--use-file-for-fake-video-capture={folder / 'camera.mjpeg'}")
    return words


@contextmanager
def serving(options: argparse.Namespace, folder: Path) -> Iterator[str]:
    """A server as users start it; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "perfrdiff_hf.cli", "serve", "--model", options.model, "--port", str(port)]
    command += ["--listeners", options.listeners or str(folder / "listeners")]
    if options.face_model:
        command += ["--face_model", options.face_model]
    server = subprocess.Popen(command)
    try:
        last = time.monotonic() + options.patience
        while not answers(port):
            if server.poll() is not None or time.monotonic() > last:
                raise SystemExit("The server does not start.")
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.terminate()
        server.wait()


def answers(port: int) -> bool:
    """Whether anybody listens."""
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def opened(address: str, devices: list[str], options: argparse.Namespace) -> Iterator[Page]:
    """The page in Chromium, ready to start."""
    words = [
        "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream", "--disable-background-networking",
        "--autoplay-policy=no-user-gesture-required", *devices,
    ]  # fmt: skip
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    patience = 1000 * options.patience
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium, args=words, timeout=patience)
        page = browser.new_page()
        page.set_default_timeout(patience)
        page.goto(f"{address}?fps={options.fps}&seed=1")
        wait_for(page, "window.page && window.page.ready", options.patience)
        yield page
        browser.close()


def wait_for(page: Page, condition: str, patience: float) -> None:
    """Until a condition holds in the page, whose policy forbids Playwright's own waiting."""
    last = time.monotonic() + patience
    while not page.evaluate(f"Boolean({condition})"):
        if time.monotonic() > last:
            said = [page.locator(place).inner_text() for place in ("#status", "#wrong")]
            raise SystemExit(f"{condition} does not come; the page says {said}.")
        time.sleep(0.1)


def speak(page: Page, options: argparse.Namespace) -> None:
    """Start, and say now and then what the meter shows; the last line is the result."""
    page.get_by_label("Listener 1", exact=True).select_option(options.listener)
    if not options.video and page.get_by_label("face", exact=True).is_enabled():
        page.get_by_label("face", exact=True).uncheck()
    if options.steps:
        page.get_by_label("Steps").fill(str(options.steps))
    if options.hop:
        page.get_by_label("Hop").fill(str(options.hop))
    page.get_by_role("button", name="Start").click()
    # The first picture that is tracked comes late, as the tracker prepares itself on it.
    wait_for(page, f"window.page.segments > 0 && window.page.tracked > {1 if options.video else -1}", options.patience)
    began, following = time.monotonic(), REPORT_SECONDS
    while (passed := time.monotonic() - began) < 60 * options.minutes:
        time.sleep(0.5)
        if passed >= following:
            following += REPORT_SECONDS
            print(f"{passed:.0f} s: {figures(page)}", flush=True)
    print(f"result after {passed:.0f} s: {figures(page)}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    if wrong := page.locator("#wrong").inner_text():
        print(f"the page complains: {wrong}")


def figures(page: Page) -> str:
    """What the page has counted, in words."""
    shown: dict[str, Any] = page.evaluate(
        "({median: null, p95: null, ...page.delay, moments: page.delays || 0, late: page.late || 0,"
        " segments: page.segments, drawn: page.drawn || 0, tracked: page.tracked, seen: page.seen})"
    )
    median, p95 = ("-" if shown[name] is None else f"{shown[name]:.2f} s" for name in ("median", "p95"))
    return (
        f"median {median}, p95 {p95} over {shown['moments'] / 25:.0f} s of the speaker; {shown['segments']} segments, "
        f"{shown['late']} late; {shown['drawn']} pictures drawn, a face in {shown['seen']:.0f} of {shown['tracked']}"
    )


if __name__ == "__main__":
    main()
