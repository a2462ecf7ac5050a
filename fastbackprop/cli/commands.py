"""All commands as one program, and how it ends: with one line and an exit code, whatever went wrong.

A file for each command. What a command needs is imported when it runs: help and errors of usage answer at once.
"""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from typing import Any

try:
    import click
except ImportError:
    raise SystemExit("fastbackprop: the command line needs click: pip install 'fastbackprop[cli]'") from None

from fastbackprop import __version__
from fastbackprop.cli import compile as compile_
from fastbackprop.cli import export, import_, info, predict, train, verify
from fastbackprop.cli.terminal import INTERRUPTED, Stop, say, warn
from fastbackprop.text import shown

LONGEST_MESSAGE = 2000  # characters


class _Commands(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:  # click would write an empty line
            raise Stop("interrupted; nothing was written", INTERRUPTED) from None
        except EOFError as error:  # click takes it for Ctrl-C
            raise OSError(f"a file ended too early: {error}") from None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="fastbackprop %(version)s")
def cli() -> None:
    """Fully connected neural networks for CPUs, trained by fused, JIT-compiled steps."""


for module in (train, predict, info, export, import_, verify, compile_):
    cli.add_command(module.command)


def run(arguments: list[str] | None) -> int:
    """Run the command line and return the exit code."""
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal cannot show is no error
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    with warnings.catch_warnings():
        warnings.showwarning = _warn
        return _run(arguments)


def _run(arguments: list[str] | None) -> int:
    """Run it and return the exit code: 1 where the work failed, 2 where what was asked for is wrong."""
    try:
        code = cli.main(arguments, prog_name="fastbackprop", standalone_mode=False)
        sys.stdout.flush()  # a reader that has gone is noticed here
        return code if isinstance(code, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.ClickException as error:
        return _fail(error.format_message(), 2)
    except ImportError as error:
        return _fail(str(error), 2)
    except Stop as stop:
        return _fail(str(stop), stop.code)
    except (KeyboardInterrupt, click.Abort):
        return _fail("interrupted; nothing was written", INTERRUPTED)
    except (ValueError, OverflowError) as error:  # what only the library could see is wrong
        return _fail(str(error), 2)
    except MemoryError as error:
        return _fail(f"not enough memory for this network: {error}", 1)
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _fail(str(error), 1)


def _fail(message: str, code: int) -> int:
    say(f"fastbackprop: {shown(' '.join(message.split()), LONGEST_MESSAGE)}", err=True)
    return code


def _warn(message: Warning | str, *_: Any, **__: Any) -> None:
    warn(" ".join(str(message).split()))
