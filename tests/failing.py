"""Errors at any step of a call: raised at the k-th line of the package that it runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import fastbackprop

PACKAGE = str(Path(fastbackprop.__file__).parent) + os.sep


def _traced(call, at_line):
    """Call it, and ``at_line`` with the frame before each line of the package."""

    def trace(frame, event, arg):
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        if event == "line":
            at_line(frame)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)  # which Python unsets where it raises an error: one is raised, and no more
    try:
        return call()
    finally:
        sys.settrace(before)


def lines_of(call):
    """The lines that a call runs, in order, each as often as it is run: (file, number)."""
    lines = []
    _traced(call, lambda frame: lines.append((frame.f_code.co_filename, frame.f_lineno)))
    return lines


def call_failing(call, k, error):
    """Call it, and raise an error at its k-th line, from 0. What the call makes of that is for the caller to see."""
    left = k

    def at_line(frame):
        nonlocal left
        if left == 0:
            left = -1
            raise error
        left -= 1

    return _traced(call, at_line)
