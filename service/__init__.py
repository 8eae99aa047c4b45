"""The service: a thin asynchronous shell around the pure learner in ``model``."""

__version__ = "0.1.0"
