"""Experts beside the network: what is cheap, learns at once and cannot go far wrong, mixed by recent success.

Pure functions on records of B streams, as :mod:`model.scaling` is.
"""

from model.experts.experts import Mixed, experts_dtype, fresh, observe, pending
from model.experts.mixing import mix
from model.experts.records import EXPERTS, LIGHT, SEASONAL

SIZES = {"all": SEASONAL, "light": LIGHT}
"""What the experts may remember of each field, by the spec's ``experts``."""

__all__ = ["EXPERTS", "SIZES", "Mixed", "experts_dtype", "fresh", "mix", "observe", "pending"]
