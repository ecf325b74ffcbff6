"""``python -m firstlight``."""

from firstlight.cli.main import main

main()
