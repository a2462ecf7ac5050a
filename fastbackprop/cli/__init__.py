"""The command line: ``fastbackprop train``, ``predict``, ``info``, ``export``, ``import``, ``verify`` and ``compile``.

Needs the extra ``cli``. Here is only how it begins: nothing that takes time is imported before Ctrl-C is met.
"""

from __future__ import annotations

import sys

INTERRUPTED = 130  # the shell's code for Ctrl-C


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; errors are one line on standard error and an exit code, never a traceback."""
    try:
        from fastbackprop.cli.commands import run

        code = run(arguments)
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)
