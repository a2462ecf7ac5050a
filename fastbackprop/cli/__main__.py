"""``python -m fastbackprop.cli``, the same as ``fastbackprop``."""

from fastbackprop.cli import main

main()
