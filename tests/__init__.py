"""Tests of the learner, the service and the command line."""
