"""Pictures, videos and files of reactions."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from perfrdiff_hf.behaviour import EMOTION_NAMES, MEAN_FACE, STD_FACE, Behaviour
from perfrdiff_hf.faces.formats import write_coefficients_npy, write_emotion_csv
from perfrdiff_hf.faces.tracks import read_face_track
from perfrdiff_hf.files import file_beside
from perfrdiff_hf.rendering.people import Person, Scene, reaction_scene
from perfrdiff_hf.rendering.strips import STRIP_ROWS, draw_strips, save_figure
from perfrdiff_hf.rendering.video import scene_pictures, video_frame, write_animation, write_video


def behaviour(frames: int, seed: int) -> Behaviour:
    rng = np.random.default_rng(seed)
    emotion = np.zeros((frames, 25), np.float32)
    emotion[:, :15] = rng.random((1, 15)) > 0.5
    emotion[:, 15:17] = np.sin(np.linspace(0, 6, frames))[:, None] * [1, -0.5]
    coefficients = MEAN_FACE + STD_FACE * np.sin(np.linspace(0, 6, frames) + seed)[:, None]
    return Behaviour(emotion=emotion, coefficients=coefficients)


@pytest.fixture(scope="module")
def scene() -> Scene:
    time = np.arange(int(1.5 * 16000)) / 16000
    tone = (0.5 * np.sin(2 * np.pi * 440 * time) * (time > 0.5))[:, None].astype(np.float32)
    return reaction_scene([behaviour(30, seed) for seed in (1, 2, 3)], behaviour(20, 0), (tone, 16000), "Title")


def test_strips_show_every_person(scene: Scene, tmp_path: Path) -> None:
    figure = draw_strips(scene)
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert [text for text in texts if text != "sound"] == ["Speaker", "Reaction 1", "Reaction 2", "Reaction 3"]
    # Each heat strip shows, in each row, the strongest of its action units.
    heats = [
        axes.images[0]
        for axes in figure.axes
        if [label.get_text() for label in axes.get_yticklabels()] == [*STRIP_ROWS]
    ]
    assert len(heats) == 4
    for heat, person in zip(heats, scene.people):
        assert person.behaviour.emotion is not None
        brows_up = person.behaviour.emotion[:, [EMOTION_NAMES.index("AU1"), EMOTION_NAMES.index("AU2")]].max(axis=1)
        np.testing.assert_array_equal(np.asarray(heat.get_array())[0], brows_up)
        assert heat.get_extent()[1] == pytest.approx(len(person.behaviour) / 25)
    curves = [line for axes in figure.axes for line in axes.lines if len(line.get_xdata()) == 30]
    assert len(curves) == 6
    save_figure(figure, tmp_path / "strips.png")
    with Image.open(tmp_path / "strips.png") as image:
        assert image.width > 1000
        assert np.asarray(image.convert("L")).std() > 20
    assert [file.name for file in tmp_path.iterdir()] == ["strips.png"]


def test_strips_without_speaker_sound_or_emotion() -> None:
    silent = Behaviour(coefficients=np.tile(MEAN_FACE, (50, 1)))
    figure = draw_strips(reaction_scene([silent], Behaviour(audio=np.zeros((50, 78)))))
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert texts == ["Reaction 1"]


def test_video_holds_pictures_and_sound(scene: Scene, tmp_path: Path) -> None:
    done = []
    write_video(scene, tmp_path / "a.mp4", size=128, progress=lambda *at: done.append(at))
    assert done == [(frame, 30) for frame in range(1, 31)]
    with av.open(str(tmp_path / "a.mp4")) as container:
        frames = [np.asarray(frame.to_image()).astype(int) for frame in container.decode(video=0)]
        assert container.streams.video[0].average_rate == 25
    assert len(frames) == 30
    for at in (0, 17, 29):
        drawn = np.asarray(video_frame(scene, at, size=128)).astype(int)
        assert frames[at].shape == drawn.shape
        assert all(side % 2 == 0 for side in drawn.shape[:2])
        assert np.abs(frames[at] - drawn).mean() < 3
    with av.open(str(tmp_path / "a.mp4")) as container:
        sound = np.concatenate([frame.to_ndarray().mean(axis=0) for frame in container.decode(audio=0)])
        rate = container.streams.audio[0].rate
    # The tone begins after half a second and ends with the pictures, although the sound goes on.
    assert len(sound) / rate == pytest.approx(1.2, abs=0.06)
    assert np.abs(sound[: int(0.4 * rate)]).max() < 0.02 < 0.3 < np.abs(sound[int(0.6 * rate) : int(1.1 * rate)]).max()
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]


def test_an_animation_begins_anew_and_keeps_time(scene: Scene, tmp_path: Path) -> None:
    pictures = list(scene_pictures(scene, size=64))
    write_animation(pictures[::2], tmp_path / "a.webp", 12.5)
    with Image.open(tmp_path / "a.webp") as animation:
        assert (animation.n_frames, animation.info["loop"]) == (15, 0)
        animation.seek(7)
        shown = np.asarray(animation.convert("RGB")).astype(int)
        assert animation.info["duration"] == 80
    assert np.abs(shown - np.asarray(pictures[14])).mean() < 4
    assert [file.name for file in tmp_path.iterdir()] == ["a.webp"]


def test_the_speakers_last_face_is_held(scene: Scene) -> None:
    def speaker(frame: int) -> np.ndarray:
        image = video_frame(scene, frame, size=64)
        return np.asarray(image)[: image.height - 60, :90]

    np.testing.assert_array_equal(speaker(19), speaker(29))
    assert (speaker(10) != speaker(19)).any()


@pytest.mark.parametrize(("reactions", "speaker"), [(1, True), (10, True), (4, False)])
def test_layout_keeps_people_apart(reactions: int, speaker: bool) -> None:
    """Faces and titles lie inside the picture, and the shirts of a row are apart."""
    people = [behaviour(2, seed) for seed in range(reactions)]
    image = np.asarray(video_frame(reaction_scene(people, people[0] if speaker else None), 0, size=64)).astype(int)
    red, _, blue = image.transpose(2, 0, 1)
    # Whatever the light, the speaker's shirt is more orange and the listeners' more blue than all else but lips.
    speakers, listeners = ((red - blue > 95).sum(axis=0) > 5), (blue - red > 35).any(axis=0)
    runs = int((np.diff(listeners.astype(int)) == 1).sum())
    assert runs == min(reactions, 5)
    assert speakers.any() == speaker
    assert (image[:, -4:] == 255).all() and (image[-4:] == 255).all()


def test_a_video_that_fails_leaves_nothing(scene: Scene, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_video(scene, tmp_path / "a.mp4", size=64, progress=stop)
    assert not list(tmp_path.iterdir())


def test_files_are_react2024s(tmp_path: Path) -> None:
    one = behaviour(40, 5)
    write_emotion_csv(tmp_path / "1.csv", one.streams["emotion"])
    write_coefficients_npy(tmp_path / "1.npy", one.streams["coefficients"])
    assert (tmp_path / "1.csv").read_text().splitlines()[0] == ",".join(EMOTION_NAMES)
    stored = np.load(tmp_path / "1.npy")
    assert stored.shape == (40, 1, 58) and stored.dtype == np.float32
    np.testing.assert_allclose(read_face_track(tmp_path / "1.csv").behaviour.emotion, one.emotion, atol=1e-5)
    np.testing.assert_array_equal(read_face_track(tmp_path / "1.npy").behaviour.coefficients, one.coefficients)


def test_a_file_is_replaced_only_when_the_new_one_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="midway"), file_beside(path) as beside:
        beside.write_text("half")
        raise RuntimeError("midway")
    assert path.read_text() == "old"
    with file_beside(path) as beside:
        beside.write_text("new")
    assert path.read_text() == "new"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_bad_input(scene: Scene, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must end in \.mp4; given: .*a\.avi"):
        write_video(scene, tmp_path / "a.avi")
    with pytest.raises(ValueError, match=r"must end in \.webp; given: .*a\.gif"):
        write_animation([], tmp_path / "a.gif")
    with pytest.raises(ValueError, match="at least one; given: none"):
        write_animation([], tmp_path / "a.webp")
    with pytest.raises(FileNotFoundError, match="no folder"):
        write_video(scene, tmp_path / "nowhere" / "a.mp4")
    with pytest.raises(ValueError, match="Anna has no coefficients"):
        Person("Anna", Behaviour(emotion=np.zeros((5, 25))))
    with pytest.raises(ValueError, match="at least one reaction"):
        Scene(reactions=[])
    with pytest.raises(ValueError, match=r"emotion must have shape \(frames, 25\); it has \(5, 24\)"):
        write_emotion_csv(tmp_path / "a.csv", np.zeros((5, 24)))
    assert not list(tmp_path.iterdir())
