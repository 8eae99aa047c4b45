"""Between a message broker and a running service: entries in, predictions out, each exactly once.

``broker.py`` says what a broker must do, ``loop.py`` is the one loop over it, ``redis_streams.py`` and ``kafka.py`` are
two brokers. Everything here talks to the service through its SDK alone.
"""
