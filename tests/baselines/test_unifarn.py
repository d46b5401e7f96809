"""UniFaRN: it trains, loads, streams, and shows what its source says of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from perfrdiff_hf.baselines import UniFaRNTransformerModel, get_system
from perfrdiff_hf.baselines.reaction_tokenizer import ReactionTokenizer
from perfrdiff_hf.baselines.token_sampling import choose, fill_in
from perfrdiff_hf.baselines.unifarn import MaskDraws
from perfrdiff_hf.data.windows import ReactionWindows
from perfrdiff_hf.training.config import load_config
from tests.baselines import manners
from tests.baselines.conftest import CONFIGS


SMALL: dict[str, Any] = {
    "steps": 40, "models.unifarn.hidden_size": 32, "models.unifarn.num_layers": 1,
    "models.unifarn.vocabulary_sizes": [64, 32, 16], "stages.unifarn.learning_rate": 3e-3,
}  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer(corpus: Any) -> ReactionTokenizer:
    made = ReactionTokenizer((64, 32, 16))
    made.fit(np.asarray(corpus.split("train").arrays.flat["emotion"]))
    return made


def test_both_sizes_can_be_built() -> None:
    for name in ("unifarn", "unifarn_bench"):
        get_system("unifarn").check_recipe(load_config(CONFIGS / f"{name}.yaml"))
    small = UniFaRNTransformerModel(hidden_size=96, num_layers=3, vocabulary_sizes=(256, 128, 128))
    assert sum(parameter.numel() for parameter in small.parameters()) == 419_424


def test_words_come_back_from_what_they_mean(tokenizer: ReactionTokenizer) -> None:
    counts = tokenizer.counts.tolist()
    assert all(1 < count <= size for count, size in zip(counts, tokenizer.sizes))
    tokens = torch.stack([torch.randint(count, (7, 50)) for count in counts], dim=-1)
    emotion = tokenizer.decode(tokens)
    assert emotion.shape == (7, 50, 25)
    assert torch.equal(tokenizer.encode(emotion), tokens)
    assert set(emotion[..., :15].unique().tolist()) == {0.0, 1.0}
    assert emotion.abs().max() <= 1


def test_recorded_frames_become_their_nearest_words(tokenizer: ReactionTokenizer, corpus: Any) -> None:
    frames = torch.from_numpy(corpus.split("val").arrays.emotion(0)[:40].copy())
    tokens = tokenizer.encode(frames)
    known = tokenizer.entries(2)[: tokenizer.counts[2]]
    distances = (frames[:, None, 17:] - known).square().sum(dim=-1)
    assert torch.equal(tokens[:, 2], distances.argmin(dim=1))
    with pytest.raises(ValueError, match="vocabulary_sizes must hold three numbers"):
        ReactionTokenizer((3, 4))


def test_it_trains(train_system: Any, read_losses: Any) -> None:
    losses = read_losses(train_system("unifarn", **SMALL), "unifarn")
    assert len(losses) == 40 and sum(losses[-10:]) < 0.9 * sum(losses[:10])


def test_online_it_reacts_to_the_past_alone(load: Any, corpus: Any) -> None:
    pipeline = load("unifarn", **SMALL)
    manners.check_reactions(pipeline, corpus)
    manners.check_online(pipeline, corpus, hop=50, temperature=1.0, top_k=64)
    manners.check_stream(pipeline, corpus, num_inference_steps=2)


def test_offline_it_reacts_to_the_window_itself(load: Any, corpus: Any) -> None:
    pipeline = load("unifarn", **{**SMALL, "steps": 2, "models.unifarn.online": False})
    manners.check_reactions(pipeline, corpus)
    manners.check_offline(pipeline, corpus, temperature=1.0, top_k=64)


def test_it_loads_in_a_process_of_its_own_and_has_a_card(train_system: Any) -> None:
    output = train_system("unifarn", **SMALL)
    manners.check_it_loads_alone(output, "UniFaRNReactionPipeline")
    manners.check_card(output, "UniFaRNReactionPipeline", "unifarn")


def test_every_frame_is_made_of_words(load: Any, corpus: Any) -> None:
    pipeline = load("unifarn", **SMALL)
    made = manners.react(pipeline, [manners.speaker(corpus)], [1], temperature=1.0).reactions
    assert set(made[..., :15].unique().tolist()) <= {0.0, 1.0}
    tokenizer = pipeline.unifarn.tokenizer
    assert torch.equal(tokenizer.decode(tokenizer.encode(made)), made)
    assert (tokenizer.encode(made).flatten(0, 2).amax(dim=0) < tokenizer.counts).all()


def test_frames_that_are_chosen_by_themselves_flicker(load: Any, corpus: Any) -> None:
    made = manners.react(load("unifarn", **SMALL), [manners.speaker(corpus)], [1], temperature=1.0, top_k=64).reactions
    recorded = torch.from_numpy(corpus.split("val").arrays.emotion(0)[:230].copy())
    changes = [(values.diff(dim=-2)[..., :15] != 0).float().mean() for values in (made, recorded)]
    assert changes[0] > 3 * changes[1]


def test_a_cold_choice_varies_less(load: Any, corpus: Any) -> None:
    pipeline, who = load("unifarn", **SMALL), manners.speaker(corpus)
    cold, warm = (
        manners.react(pipeline, [who], [1], temperature=degree, top_k=64).reactions.var(dim=2).mean()
        for degree in (0.05, 1.0)
    )
    assert cold < 0.5 * warm
    greedy = manners.react(pipeline, [who], [1], top_k=1).reactions
    assert torch.equal(greedy[:, 0], greedy[:, 1])


def test_what_is_masked_is_not_seen(load: Any) -> None:
    model = load("unifarn", **SMALL).unifarn
    speaker = {"audio": torch.randn(1, 6, 78), "emotion": torch.rand(1, 6, 25), "coefficients": torch.randn(1, 6, 58)}
    tokens, past = torch.zeros(1, 6, 3, dtype=torch.long), torch.zeros(1, 6, 3, dtype=torch.long)
    other = tokens.clone()
    other[0, 2] = 1
    hidden, shown = torch.ones(1, 6, 3, dtype=torch.bool), torch.zeros(1, 6, 3, dtype=torch.bool)
    with torch.no_grad():
        assert torch.equal(*(model(speaker, said, hidden, past)[0][0] for said in (tokens, other)))
        assert not torch.equal(*(model(speaker, said, shown, past)[0][0] for said in (tokens, other)))
        assert not torch.equal(*(model(speaker, tokens, hidden, said)[0][0] for said in (past, past - 1)))


def test_choosing_follows_the_probabilities() -> None:
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().expand(40_000, 4)
    noise = torch.randn(40_000, generator=torch.Generator().manual_seed(0))

    def shares(**options: Any) -> list[float]:
        words, sureness = choose(logits, noise, **{"temperature": 1.0, "top_k": 4, "top_p": 1.0, **options})
        assert (sureness > 0).all()
        return (torch.bincount(words, minlength=4) / len(words)).tolist()

    assert shares() == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.01)
    assert shares(top_k=2) == pytest.approx([0.625, 0.375, 0, 0], abs=0.01)
    assert shares(top_p=0.6) == pytest.approx([0.625, 0.375, 0, 0], abs=0.01)
    assert shares(top_p=0.1) == [1, 0, 0, 0]
    squares = np.square([0.5, 0.3, 0.15, 0.05])
    assert shares(temperature=0.5) == pytest.approx(squares / squares.sum(), abs=0.01)


def test_tokens_are_filled_in_the_surest_first() -> None:
    sure = torch.linspace(0.5, 5, 8).reshape(1, 4, 2)  # how sure each of four frames and two kinds is
    seen: list[torch.Tensor] = []

    def predict(tokens: torch.Tensor, masked: torch.Tensor) -> list[torch.Tensor]:
        seen.append(masked.clone())
        return [torch.stack([sure[..., kind], -sure[..., kind]], dim=-1) for kind in range(2)]

    tokens = fill_in(predict, lambda: torch.full((1, 4, 2), -1.0), (1, 4, 2), 3, 1.0, 2, 1.0)
    assert not tokens.any() and len(seen) == 3
    assert [int(masked.sum()) for masked in seen] == [8, 7, 4]  # 8 cos(30 degrees), 8 cos(60 degrees)
    assert torch.equal(seen[2].flatten(), torch.tensor([True] * 4 + [False] * 4))


def test_masks_have_the_same_number_in_each_kind() -> None:
    draws, generator = MaskDraws(50), torch.Generator().manual_seed(3)
    drawn = [draws({}, generator) for _ in range(200)]
    counts = torch.stack([one["masked"].sum(dim=0) for one in drawn])
    assert (counts == counts[:, :1]).all() and counts.min() >= 1 and counts.max() == 50
    assert counts.float().mean() == pytest.approx(50 * 2 / np.pi, rel=0.1)
    assert any(not torch.equal(one["masked"][:, 0], one["masked"][:, 1]) for one in drawn)
    assert 0.1 < sum(bool(one["swapped"]) for one in drawn) / 200 < 0.3


def test_negatives_are_reactions_to_others(corpus: Any) -> None:
    part = corpus.split("train")
    arguments = {"num_reactions": 1, "window_size": 50, "seed": 1}
    plain = ReactionWindows(part.arrays, part.appropriate, **arguments)
    windows = ReactionWindows(part.arrays, part.appropriate, **arguments, negatives=3)
    flat = part.arrays.flat["emotion"]
    for index in range(4):
        item = windows[index]
        assert item["negatives"].shape == (3, 50, 25)
        assert torch.equal(item["reactions"], plain[index]["reactions"])
        for window in item["negatives"].numpy():
            found = [
                at
                for at in np.flatnonzero((flat == window[7]).all(axis=1)) - 7
                if (flat[at : at + 50] == window).all()
            ]
            rows = [int(np.searchsorted(part.arrays.offsets, at, side="right")) - 1 for at in found]
            assert any(not part.appropriate[index, row] for row in rows)
    with pytest.raises(ValueError, match="negatives: every reaction is appropriate to clip"):
        ReactionWindows(part.arrays, np.ones_like(part.appropriate), **arguments, negatives=1)


def test_settings_out_of_range_are_refused(load: Any, corpus: Any) -> None:
    pipeline, who = load("unifarn", **SMALL), manners.speaker(corpus)
    for settings, message in (
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"top_k": 0}, "top_k must be at least 1"),
        ({"top_p": 1.5}, r"top_p must lie in \(0, 1\]"),
        ({"num_inference_steps": 0}, "num_inference_steps must be at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            pipeline(speaker=who, **settings)
