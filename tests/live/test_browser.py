"""The page in Chromium, driven by Playwright with a fake camera and microphone.

They need Debian's `chromium` (or any, named by CHROMIUM), the package `playwright`, and what `perfrdiff serve
--install` fetches (PERFRDIFF_PAGE names its folder). A face is tracked where a face landmarker and a video lie beside
the checkout, and axe-core is asked where AXE_CORE names its axe.min.js. On a machine without a graphics card drawing
costs a core, so that faces are drawn four times a second here. PAGE_PICTURES names a folder for the screenshots.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perfrdiff_hf.behaviour import BLENDSHAPE_NAMES
from perfrdiff_hf.feature_extraction import PerFRDiffFeatureExtractor
from perfrdiff_hf.live.installing import default_folder, is_installed
from tests.golden_files import REALDATA, SHARED
from tests.live.clients import Served
from tests.live.mime import MimePipeline


CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
VENDOR = Path(os.environ.get("PERFRDIFF_PAGE") or default_folder())
FACE_MODEL = SHARED / "realdata" / "tracking" / "face_landmarker.task"
VIDEO = SHARED / "realdata" / "tracking" / "WolfgangLanger_Pexels.mp4"
AXE = os.environ.get("AXE_CORE", "")
PICTURES = os.environ.get("PAGE_PICTURES", "")
# Of everything that is waited for, in milliseconds; a busy machine may ask for more.
PATIENCE = 1000 * int(os.environ.get("PAGE_PATIENCE", "60"))
# The woman laughs from here on.
FIRST_FRAME = 400
SMILE = BLENDSHAPE_NAMES.index("mouthSmileLeft")

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
    pytest.mark.skipif(not is_installed(VENDOR), reason="the page's libraries are missing: perfrdiff serve --install"),
]
with_tracker = pytest.mark.skipif(
    not (FACE_MODEL.is_file() and VIDEO.is_file()), reason="no face landmarker and video beside the checkout"
)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the fake camera and microphone play, over and over: speech, and the laughing end of the video."""
    import av
    import soundfile
    import soxr

    folder = tmp_path_factory.mktemp("recorded")
    speech, rate = soundfile.read(REALDATA / "speech" / "jfk_16k_mono.wav", dtype="float32")
    soundfile.write(folder / "mic.wav", soxr.resample(speech, rate, 48000), 48000, subtype="PCM_16")
    if VIDEO.is_file():
        with av.open(str(VIDEO)) as source, open(folder / "cam.mjpeg", "wb") as camera:
            for number, frame in enumerate(source.decode(video=0)):
                if number >= FIRST_FRAME:
                    frame.to_image().resize((480, 270)).save(camera, "JPEG", quality=85)
    return folder


@pytest.fixture(scope="module")
def browser(recorded: Path) -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    words = [
        "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream", "--disable-background-networking",
        f"--use-file-for-fake-audio-capture={recorded / 'mic.wav'}", "--autoplay-policy=no-user-gesture-required",
    ]  # fmt: skip
    if (recorded / "cam.mjpeg").is_file():
        words.append(f"--use-file-for-fake-video-capture={recorded / 'cam.mjpeg'}")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=CHROMIUM, args=words, timeout=PATIENCE)
        yield opened
        opened.close()


@pytest.fixture
def visit(browser: Any, serving: Callable[..., Served]) -> Iterator[Callable[..., Any]]:
    """Opens the page of a fresh server, at a width, and says afterwards that it asked nobody else."""
    contexts, strangers = [], []

    def opened(
        width: int = 1280,
        height: int = 900,
        served: Served | None = None,
        key: str = "",
        begin: str = "",
        **options: Any,
    ) -> Any:
        if served is None:
            models = {"mime": MimePipeline(PerFRDiffFeatureExtractor())}
            served = serving(models=models, vendor=VENDOR, face_model=options.pop("face_model", None))
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        context.add_init_script(begin)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.said = []
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        here = f"http://{served.address}/"
        page.on(
            "request",
            lambda asked: asked.url.startswith((here, "blob:", "data:")) or strangers.append(asked.url),
        )
        page.goto(f"{here}?fps=4&seed=1{key}")
        until(page, "window.page && window.page.ready")
        page.served = served
        return page

    yield opened
    for context in contexts:
        context.close()
    assert strangers == []


def until(page: Any, condition: str) -> None:
    """Wait for a condition; the page's policy forbids Playwright's own waiting, which evaluates texts in the page."""
    last = time.monotonic() + PATIENCE / 1000
    while not page.evaluate(f"Boolean({condition})"):
        if time.monotonic() > last:
            said = [page.locator(place).inner_text() for place in ("#status", "#wrong")]
            raise AssertionError(f"{condition} does not come; the page says {said}, {page.said}")
        time.sleep(0.1)


def picture(page: Any, name: str) -> None:
    if PICTURES:
        page.screenshot(path=str(Path(PICTURES) / f"{name}.png"), full_page=True)


def start(page: Any) -> None:
    page.get_by_role("button", name="Start").click()
    until(page, "window.page.segments > 0")


def smile(page: Any, listener: int = 0) -> float:
    return page.evaluate(f"window.page.faces[{listener}][{SMILE}]")


def test_sound_makes_the_head_smile(visit: Callable[..., Any]) -> None:
    """From the microphone to the head, on a narrow screen and on a wide one; then recorded and saved."""
    page = visit(width=390, height=844)
    picture(page, "before_390")
    start(page)
    page.get_by_role("button", name="Record", exact=True).click()
    until(page, f"window.page.faces[0] && window.page.faces[0][{SMILE}] > 0.35")
    picture(page, "smile_390")
    page.set_viewport_size({"width": 1280, "height": 900})
    picture(page, "smile_1280")
    until(page, "window.page.delay && window.page.delay.median !== null")
    assert 0 < page.evaluate("window.page.delay.median") < 60
    page.get_by_role("button", name="Stop recording").click()
    for suffix, begin in {"csv": b"Timecode,", "npz": b"PK"}.items():
        with page.expect_download() as download:
            page.get_by_role("button", name=f"Download {suffix}").click()
        assert Path(download.value.path()).read_bytes().startswith(begin)
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("button", name="Start").wait_for()


@with_tracker
def test_a_face_is_tracked_here_and_mirrored(visit: Callable[..., Any]) -> None:
    page = visit(face_model=FACE_MODEL)
    start(page)
    until(page, f"window.page.speaker && window.page.speaker[2 + {SMILE}] > 0.5")
    until(page, f"window.page.faces[0][{SMILE}] > 0.4")
    picture(page, "mirrored_1280")
    assert page.evaluate("window.page.seen") > 0


@with_tracker
def test_a_listener_is_made_of_a_video(
    visit: Callable[..., Any], serving: Callable[..., Served], make_pipeline: Callable[..., Any]
) -> None:
    page = visit(served=serving({"tiny": make_pipeline()}, vendor=VENDOR, face_model=FACE_MODEL))
    page.get_by_role("button", name="Make a listener").click()
    page.get_by_label("Name").fill("alice")
    page.get_by_label("a video file, up to a minute of it").check()
    page.locator("#people-file").set_input_files(str(VIDEO))
    page.get_by_label("this person has agreed").check()
    page.get_by_role("button", name="Begin").click()
    until(page, "document.getElementById('people-said').textContent.includes('listens from now on')")
    picture(page, "listener_1280")
    assert page.served.studio.shelf.names() == ["alice"]
    page.get_by_role("button", name="Close").click()
    assert page.get_by_label("Listener 1").input_value() == "alice"
    page.on("dialog", lambda asked: asked.accept())
    page.get_by_role("button", name="Make a listener").click()
    page.get_by_role("button", name="Remove").click()
    until(page, "document.getElementById('people-said').textContent.includes('is gone')")
    assert page.served.studio.shelf.names() == []


def test_two_pages_and_a_reload(visit: Callable[..., Any]) -> None:
    one = visit()
    one.get_by_role("button", name="One more beside").click()
    start(one)
    other = visit(served=one.served)
    start(other)
    one.reload()
    until(one, "window.page && window.page.ready")
    start(one)
    before = other.evaluate("window.page.segments")
    until(other, f"window.page.segments > {before}")
    last = time.monotonic() + PATIENCE / 1000
    while len(one.served.studio.engine._sessions) != 2:  # the session before the reload has ended
        assert time.monotonic() < last
        time.sleep(0.1)


def test_with_a_token_and_without_storage(visit: Callable[..., Any], serving: Callable[..., Served]) -> None:
    """As in a frame of another site, where the browser remembers nothing."""
    models = {"mime": MimePipeline(PerFRDiffFeatureExtractor())}
    denied = "{ get: () => { throw new DOMException('denied', 'SecurityError'); } }"
    page = visit(
        served=serving(models=models, vendor=VENDOR, token="a-secret"),
        key="#token=a-secret",
        begin="".join(f"Object.defineProperty(window, '{kind}Storage', {denied});" for kind in ("local", "session")),
    )
    start(page)
    page.get_by_role("button", name="Dark").click()
    assert page.evaluate("document.documentElement.dataset.theme") in ("dark", "light")
    assert not [said for said in page.said if "denied" in said]


def test_a_denied_camera_and_a_broken_file_are_named(visit: Callable[..., Any], tmp_path: Path) -> None:
    page = visit()
    page.evaluate(
        "() => { const denied = () => Promise.reject(new DOMException('', 'NotAllowedError'));"
        " navigator.mediaDevices.getUserMedia = denied; }"
    )
    page.get_by_role("button", name="Start").click()
    said = page.get_by_role("alert")
    said.wait_for()
    assert "microphone was denied" in said.inner_text()
    page.get_by_label("sound", exact=True).uncheck()  # the face is off already, as there is no face model
    page.get_by_role("button", name="Start").click()
    until(page, "document.getElementById('wrong').textContent.includes('sound, face or both')")
    page.get_by_label("sound", exact=True).check()
    (tmp_path / "broken.mp4").write_bytes(np.random.default_rng(0).bytes(1000))
    page.get_by_label("a video file", exact=True).check()
    page.locator("#file").set_input_files(str(tmp_path / "broken.mp4"))
    page.get_by_role("button", name="Start").click()
    until(page, "document.getElementById('wrong').textContent.includes('cannot be played')")
    assert page.get_by_role("button", name="Start").is_enabled()


def test_keyboard_theme_and_what_axe_says(visit: Callable[..., Any]) -> None:
    page = visit(width=390, height=844, color_scheme="dark")
    picture(page, "dark_390")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "To the controls"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != dark
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    if not Path(AXE).is_file():
        pytest.skip("AXE_CORE does not name axe-core's axe.min.js")
    for _ in range(2):  # in the light, and in the dark
        # As code of the test and not of the page, whose policy forbids what does not come from the server.
        page.evaluate(Path(AXE).read_text(encoding="utf-8") + "; null")
        found = page.evaluate("axe.run().then((result) => result.violations)")
        serious = [
            (entry["id"], [node["html"] for node in entry["nodes"]])
            for entry in found
            if entry["impact"] in ("serious", "critical")
        ]
        assert serious == []
        page.get_by_role("button", name="Dark").click()
