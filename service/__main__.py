"""``python -m service`` is ``stepahead``."""

from service.cli import main

main()
