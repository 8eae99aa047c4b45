"""The network's arithmetic as compiled loops, for the CPU: what :mod:`model.network` computes, without torch's calls.

A step of one stream is some hundred operations on a few hundred numbers, so that calling them costs more than they do.
:mod:`model.compiled.network` is the way in. Arrays are NumPy's.
"""
