"""``python -m fastbackprop``, the same as ``fastbackprop``."""

from fastbackprop.cli import main

if __name__ == "__main__":
    main()
