"""Counts beside the network: what followed the last values of a category before, in whichever stream of the model."""

from model.ngrams.counts import Counts
from model.ngrams.lookup import BEGIN
from model.ngrams.mix import (
    EXPERTS,
    Judged,
    Opinion,
    fresh,
    judge,
    mix_dtype,
    opinion,
    probabilities,
    read_lessons,
    take_in,
    worth_learning,
)

__all__ = [
    "BEGIN",
    "EXPERTS",
    "Counts",
    "Judged",
    "Opinion",
    "fresh",
    "judge",
    "mix_dtype",
    "opinion",
    "probabilities",
    "read_lessons",
    "take_in",
    "worth_learning",
]
