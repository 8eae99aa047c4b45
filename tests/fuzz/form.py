"""How long a fuzz is to be."""

from __future__ import annotations

import os

LONG: int | None = int(os.environ["FUZZ"]) if os.environ.get("FUZZ") else None
"""Examples per call in the long form, which ``make fuzz`` asks for; ``None`` for the suite's short one."""
