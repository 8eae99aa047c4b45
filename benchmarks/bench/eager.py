"""The network's part of a learning step in plain PyTorch: modules, autograd, ``torch.optim.Adam``.

It is what one would write without writing out any gradient. It does what the learner does with its network, to
rounding (``tests/bench/test_eager.py``): gradient of the window, gradient of the newest input from the corrected state,
clip, Adam, correction, advance on both paths, outputs. All else that a step of the learner does is left out: scaling,
features, experts, intervals, scores, drift, learning the correction's rates and trust, copies of beliefs.

Symbols: B streams, K window length, D dense inputs, H hidden units, R real fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

_HUBER, _MAX_NORM, _MAX_CORRECTION = 2.0, 10.0, 1.0
_DAMPING, _TINY = 0.01, 1e-12  # of the correction's step

_Pair = tuple[Tensor, Tensor]


@dataclass(slots=True)
class Streams:
    """What streams carry between two items; the window is full.

    Args:
        start: Hidden and cell state before the window, two of (B, H).
        window: Its inputs, (B, K, D).
        from_initial: Whether the window begins with the stream's first item, (B,) bool.
        before: State before the newest input on the corrected path, two of (B, H).
        newest: That input, (B, D).
        rates: Of the correction, (B, H).
    """

    start: _Pair
    window: Tensor
    from_initial: Tensor
    before: _Pair
    newest: Tensor
    rates: Tensor

    @classmethod
    def random(cls, n: int, window: int, n_dense: int, hidden: int) -> Streams:
        """Noise of the right shapes."""
        start, before = torch.rand(2, 2, n, hidden) - 0.5
        return cls(
            start=(start[0], start[1]),
            window=torch.randn(n, window, n_dense),
            from_initial=torch.zeros(n, dtype=torch.bool),
            before=(before[0], before[1]),
            newest=torch.randn(n, n_dense),
            rates=torch.full((n, hidden), 0.1),
        )


class Eager(nn.Module):
    """An LSTM with a learned initial state and a linear readout, and its optimiser.

    Args:
        n_dense: D.
        hidden: H.
        n_reals: R.
    """

    def __init__(self, n_dense: int, hidden: int, n_reals: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(n_dense, hidden, batch_first=True)
        self.lstm.bias_hh_l0.requires_grad_(False).zero_()  # one bias is enough
        self.readout = nn.Linear(hidden, n_reals)
        self.initial = nn.Parameter(torch.zeros(2, hidden))
        self.learned = [one for one in self.parameters() if one.requires_grad]
        self.adam = torch.optim.Adam(self.learned, lr=4e-3, fused=True)  # the fastest of its forms

    def step(self, streams: Streams, targets: Tensor, plain: Tensor, carried: Tensor) -> tuple[Tensor, Tensor]:
        """Learn from an item, correct, advance and predict; ``streams`` is changed.

        Args:
            streams: Of each stream.
            targets: The item's scaled increments, (B, R).
            plain: The inputs made from it as the window continues, (B, D).
            carried: Likewise on the corrected path.

        Returns:
            The outputs for the next item on the plain path and on the corrected one, (B, R) each.
        """
        first, last = self._learn(streams, targets)
        corrected = self._correct(streams, targets)
        self.adam.step()
        with torch.no_grad():
            inputs = torch.cat([plain, carried])[:, None]
            states = [torch.cat(parts)[None] for parts in zip(last, corrected, strict=True)]
            read, _ = self.lstm(inputs, (states[0], states[1]))
            outputs = self.readout(read[:, 0])
        n = len(targets)
        streams.start = first
        streams.window = torch.cat([streams.window[:, 1:], plain[:, None]], 1)
        streams.from_initial = torch.zeros_like(streams.from_initial)
        streams.before, streams.newest = corrected, carried
        return outputs[:n], outputs[n:]

    def _learn(self, streams: Streams, targets: Tensor) -> tuple[_Pair, _Pair]:
        """Fill the gradients of what is learned, clipped; states after the window's first input and after its last."""
        begun = streams.from_initial[:, None]
        start = [torch.where(begun, own, given)[None] for own, given in zip(self.initial, streams.start, strict=True)]
        outputs, last = self.lstm(streams.window, (start[0], start[1]))
        with torch.no_grad():  # again, as torch does not tell memories in between; cheaper than two parts of a gradient
            _, first = self.lstm(streams.window[:, :1], (start[0], start[1]))
        loss = _loss(self.readout(outputs[:, -1]), targets).mean()
        self.adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.learned, _MAX_NORM)
        return (first[0][0], first[1][0]), (last[0][0].detach(), last[1][0].detach())

    def _correct(self, streams: Streams, targets: Tensor) -> _Pair:
        """The state after the newest input, its memory moved against the gradient of the item's loss: a Cauchy step."""
        lstm = self.lstm
        with torch.no_grad():
            hidden, memory = streams.before
            gates = functional.linear(streams.newest, lstm.weight_ih_l0, lstm.bias_ih_l0)
            gates = gates + functional.linear(hidden, lstm.weight_hh_l0)
            write, keep, new, read = gates.chunk(4, 1)
            memory = keep.sigmoid() * memory + write.sigmoid() * new.tanh()
            read = read.sigmoid()
        memory.requires_grad_()
        loss = _loss(self.readout(read * memory.tanh()), targets).sum()
        (slope,) = torch.autograd.grad(loss, memory)
        with torch.no_grad():
            along = (slope * read * (1 - memory.tanh().square())) @ self.readout.weight.T  # (B, R)
            square = slope.square().sum(1, keepdim=True)
            curvature = along.square().sum(1, keepdim=True)
            step = -square / (curvature + _DAMPING * square + _TINY) * slope
            memory = memory + (streams.rates * step).clamp(-_MAX_CORRECTION, _MAX_CORRECTION)
            return read * memory.tanh(), memory

    @torch.no_grad()
    def take(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take the learner's parameters, by their names there; its gates are input, forget, output, candidate."""
        self.lstm.weight_ih_l0.copy_(_reordered(arrays["input.0"]).T)
        self.lstm.weight_hh_l0.copy_(_reordered(arrays["recurrent.0"]).T)
        self.lstm.bias_ih_l0.copy_(_reordered(arrays["bias.0"]))
        self.readout.weight.copy_(torch.from_numpy(arrays["readout"].T.copy()))
        self.readout.bias.copy_(torch.from_numpy(arrays["readout_bias"].copy()))
        self.initial.copy_(torch.from_numpy(arrays["initial"][0].copy()))


def _loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Of each stream, (B,)."""
    return functional.huber_loss(outputs, targets, reduction="none", delta=_HUBER).sum(1)


def _reordered(array: np.ndarray) -> Tensor:
    """Gates in torch's order: input, forget, candidate, output."""
    write, keep, read, new = np.split(array, 4, axis=-1)
    return torch.from_numpy(np.concatenate([write, keep, new, read], axis=-1))
