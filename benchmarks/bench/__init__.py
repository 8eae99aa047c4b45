"""``make bench``: what :mod:`service.bench` measures, and comparisons that need more than an installation has."""
