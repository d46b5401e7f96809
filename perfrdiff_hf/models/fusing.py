"""One listener merged into a generator's weights, and out again; and whether shifts belong to a generator at all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from .weight_digests import digests_agree, weight_digests
from .weight_shifts import WeightShifts


class FusingMixin(nn.Module):
    """What a generator that takes `WeightShifts` does with them as a whole; it calls `_begin_unfused` when made."""

    config: Any

    def _begin_unfused(self) -> None:
        self._generic_weights: dict[str, Tensor] = {}
        self._digests: tuple[Any, dict[str, str]] = (None, {})
        self.register_state_dict_post_hook(_show_generic_weights)
        self.register_load_state_dict_pre_hook(_refuse_while_fused)

    def fuse_weight_shifts(self, weight_shifts: WeightShifts) -> None:
        """Merge one listener's shifts into the weights, for a long session with that listener alone.

        The forward call then costs what the generic model costs, and takes no `weight_shifts`. The generic weights
        are kept for `unfuse_weight_shifts`, and `state_dict`, `save_pretrained` and `push_to_hub` go on giving those:
        a listener is never saved as a generic model. Fuse before a stream is opened: a stream keeps what it computed
        from the weights that it began with.

        Raises:
            ValueError: if there are several listeners, the shifts are another generator's, or some are fused already.
        """
        if weight_shifts.num_listeners != 1:
            raise ValueError(
                f"weight_shifts must hold one listener to be fused; given: {weight_shifts.num_listeners}."
            )
        self.check_weight_shifts(weight_shifts)
        for name, shift in weight_shifts.items():
            weight: Any = self.get_submodule(name).weight
            self._generic_weights[name] = weight.data
            weight.data = weight.data + shift.weight_change(weight.data)[0].to(weight)

    def unfuse_weight_shifts(self) -> None:
        """Put the generic weights back, to the last bit; does nothing where nothing is fused."""
        for name, generic in self._generic_weights.items():
            weight: Any = self.get_submodule(name).weight
            weight.data = generic.to(weight)
        self._generic_weights = {}

    def check_weight_shifts(self, weight_shifts: WeightShifts) -> None:
        """See that weight shifts were made for this generator and can be given to it now.

        The weights are read for it, which `forward` does not do: there the layers' names and sizes must be enough.

        Raises:
            ValueError: if not.
        """
        self._check_not_fused()
        weight_shifts.check_layers(self)
        made_for = weight_shifts.generator_digests
        if made_for and not digests_agree(made_for, self.weight_digests(weight_shifts)):
            raise ValueError(
                "weight_shifts were made for another generator of the same size. Personalise the listener anew with "
                "this one."
            )

    def weight_digests(self, layers: Iterable[str]) -> dict[str, str]:
        """What tells the generic weights of some layers from those of any other generator; see `weight_digests`.

        Computed once for weights that stay the same: as long as their sums do. A student has those of its teacher: it
        takes the shifts that were made for that one, and those that are made for it fit both.

        Args:
            layers: names of linear layers.
        """
        of_teacher = (self.config.get("distilled") or {}).get("weight_digests")
        if of_teacher:
            return dict(of_teacher)
        weights: dict[str, Any] = {name: self.get_submodule(name).weight.detach() for name in sorted(layers)}
        weights |= {name: generic for name, generic in self._generic_weights.items() if name in weights}
        key = tuple((name, weight.dtype, float(weight.sum(dtype=torch.float64))) for name, weight in weights.items())
        if self._digests[0] != key:
            self._digests = (key, weight_digests(weights))
        return self._digests[1]

    def _check_not_fused(self) -> None:
        if self._generic_weights:
            raise ValueError(
                "Weight shifts are fused already, and weight_shifts would come on top of them; call "
                "unfuse_weight_shifts first, or leave weight_shifts out."
            )


def _show_generic_weights(model: Any, state: dict[str, Any], prefix: str, _: Any) -> None:
    """Whoever saves a model in which a listener is fused saves the generic one."""
    for name, generic in model._generic_weights.items():
        for key in (f"{prefix}{name}.weight", f"{prefix}{name}.base_layer.weight"):  # the latter inside a LoRA
            if key in state:
                state[key] = generic.to(state[key])


def _refuse_while_fused(model: Any, *_: Any) -> None:
    if model._generic_weights:
        raise ValueError("Weights cannot be loaded while weight shifts are fused; call unfuse_weight_shifts first.")
