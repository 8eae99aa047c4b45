"""Evaluation over recorded streams: series, runs, measures, baselines, variants, significance and how they are shown.

Everything here works on arrays in memory and on the learner's own step; it knows neither files nor the command line.
"""
