"""Measures this installation: the service beside what it could at most be.

Both sides of a pair take turns in one run, so that a busy machine slows both, and their ratio is what is told.
"""
