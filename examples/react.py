"""One listener's reactions to a speaker: personalise, call, stream. Takes any saved pipeline, such as the demo's.

Run it as `python examples/react.py --model demo_output/model`.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch

from perfrdiff_hf import Behaviour, PerFRDiffPipeline
from perfrdiff_hf.data.audio import mfcc_features
from perfrdiff_hf.synthetic.cast import SIZES, World, plan_world
from perfrdiff_hf.synthetic.recording import render


def recorded(world: World, row: int, of_partner: bool = False) -> Behaviour:
    """What a person of a made-up world says and shows for 30 s, or what the partner in that clip does."""
    recording = world.of_split("test")[row]
    shown = render(world, world.partner(recording) if of_partner else recording)
    audio = mfcc_features(shown.sound, world.size.sample_rate, len(shown.emotion))
    return Behaviour(audio, shown.emotion, shown.coefficients[: len(audio)])


def main(arguments: list[str] | None = None) -> None:
    """Print what comes out of the call and of the stream."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--model", required=True, help="folder or Hub name of a pipeline")
    options = parser.parse_args(arguments)
    # The demo's model is made for these; without them, sampling is the official one.
    settings: dict[str, Any] = {"num_reactions": 3, "num_inference_steps": 6, "guidance_scale": 1.75}

    pipe = PerFRDiffPipeline.from_pretrained(options.model)
    world = plan_world(SIZES["demo"], seed=0)
    listener = pipe.personalise(recorded(world, row=0))  # her clip 1 is the history
    speaker = recorded(world, row=1, of_partner=True)  # whom she meets in clip 2

    whole = pipe(speaker=speaker, weight_shifts=listener, generator=torch.Generator().manual_seed(0), **settings)
    print(f"the whole clip: reactions {tuple(whole.reactions.shape)}, coefficients {tuple(whole.coefficients.shape)}")

    stream = pipe.stream(weight_shifts=listener, generator=torch.Generator().manual_seed(0), **settings)
    segments = []
    for start in range(0, len(speaker), 30):  # chunks of any length, as a microphone and a camera give them
        chunk = speaker[start : start + 30].streams
        for segment in stream.push(**{name: values[None] for name, values in chunk.items()}):
            segments.append(segment.reactions)
            print(f"frame {start + 30} of the speaker heard: reactions from frame {segment.start} on")
    live = torch.cat(segments, dim=2)[:, :, : len(speaker)]
    same = torch.equal(live, torch.as_tensor(whole.reactions))
    print(f"live and at once, the reactions are the same: {same}")


if __name__ == "__main__":
    main()
