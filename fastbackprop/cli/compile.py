"""The command ``fastbackprop compile``: fill the cache of compiled code ahead."""

from __future__ import annotations

import time

import click

from fastbackprop.cli.terminal import say


@click.command("compile", context_settings={"show_default": True}, short_help="Compile all of the engine ahead.")
@click.option("--dtype", type=click.Choice(["float64", "float32", "both"]), default="both", help="Of the networks.")
def command(dtype: str) -> None:
    """Compile all of the engine, some minutes, so that no later run waits.

    For an image of a container, or the machines of a cluster. The compiled code is kept in NUMBA_CACHE_DIR where that
    is set, else in the package's folder. Without this, each piece is compiled when it is first needed.
    """
    from fastbackprop.compiling import compile as compile_ahead

    start = time.perf_counter()
    pieces = compile_ahead(["float32", "float64"] if dtype == "both" else [dtype])
    say(f"compiled  {pieces} pieces, or found them on disk, in {time.perf_counter() - start:.1f} s")
