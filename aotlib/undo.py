r"""Putting back what a training step changes before it is known to be finite. Taught in notebook 05."""

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from aotlib.config import TrainConfig
from aotlib.methods import METHODS

if TYPE_CHECKING:
    from aotlib.step import State


def undoing(state: "State", config: TrainConfig) -> Callable[[], None]:
    r"""What puts back all that a step changes before it is known to be finite.

    Those are the networks' buffers (means of batch normalisation, spectral norms), and where a method updates its
    critic several times a step, the critic and its Adam.
    """
    moved = [*state.generator.buffers(), *state.discriminator.buffers()]
    several = config.method != "aot" and METHODS[config.method].critic_steps > 1
    moved += list(state.discriminator.parameters()) if several else []
    before = [tensor.detach().clone() for tensor in moved]
    adam = copy.deepcopy(state.optimiser_d.state_dict()) if several and state.optimiser_d else None

    @torch.no_grad()
    def undo() -> None:
        for tensor, value in zip(moved, before, strict=True):
            tensor.copy_(value)
        if adam:
            state.optimiser_d.load_state_dict(adam)

    return undo
