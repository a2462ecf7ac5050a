"""The command line, called in this process or in one of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from fastbackprop import cli
from tests.processes import ROOT


def call(capsys, *arguments):
    """Exit code, standard output and standard error."""
    with pytest.raises(SystemExit) as end:
        cli.main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return end.value.code or 0, out, err


def one_line(capsys, *arguments):
    """The one line that a wrong call gives."""
    code, out, err = call(capsys, *arguments)
    assert code == 2
    assert err.count("\n") == 1
    assert not re.search(r"^(model|picture|predictions) ", out, re.MULTILINE)
    return err


def run(*arguments, stdin=b"", **options):
    """Exit code, standard output and standard error, in bytes, of a process of its own; ``stdin``: bytes or a file."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "fastbackprop.cli", *map(str, arguments)]
    given = {"input": stdin} if isinstance(stdin, bytes) else {"stdin": stdin}
    done = subprocess.run(command, **given, capture_output=True, timeout=300, env=environment, **options)
    return done.returncode, done.stdout, done.stderr
