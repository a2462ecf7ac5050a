"""The command ``fastbackprop export``: a model as a file of another library."""

from __future__ import annotations

from pathlib import Path

import click

from fastbackprop.cli.models import read_model
from fastbackprop.cli.options import MODEL
from fastbackprop.cli.outputs import writable
from fastbackprop.cli.terminal import say, warn


@click.command("export", short_help="Write a model for ONNX, PyTorch, Keras or C.")
@click.argument("model", type=MODEL)
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
def command(model: Path, out: Path) -> None:
    """Write MODEL, a file that `train` or `Network.save` wrote, as OUT, for another library.

    The end of OUT's name says for which: .onnx; .pth, .pt or .safetensors, a state dict of PyTorch; .pt2, a program of
    torch.export; .keras; .c. In .onnx and .c is the preprocessing, too: they take the columns as they stand in a table.
    """
    from fastbackprop import interop
    from fastbackprop.cli.compiling import announced
    from fastbackprop.interop.files import WITH_TABLE, WRITERS, ending_of

    try:
        ending = ending_of(out, tuple(WRITERS))
    except ValueError:
        raise click.UsageError(f"OUT must end in {', '.join(WRITERS)}, got {str(out)!r}") from None
    with writable(out, keep=[model], option="OUT"):
        _, table, training = read_model(model)
        if "stands" in training:
            warn(f"{model}: the network {training['stands']}")
        if table is not None and ending not in WITH_TABLE:
            warn(f"{out}: the preprocessing is not in it; the network's inputs are those of tables.Table.transform")
        with announced():
            interop.save(model, out)
    say(f"exported  {out}")
