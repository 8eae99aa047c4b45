"""Pure online learning: beliefs and items in, new beliefs and results out.

No asyncio, no Redis, no HTTP. The service, ``stepahead evaluate`` and the tests
all run :meth:`model.learner.Learner.step`; there is no second step function.
"""
