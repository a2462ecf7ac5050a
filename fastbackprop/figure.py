"""A matplotlib Figure that a notebook shows. Needs the extra ``plot``."""

from __future__ import annotations

import io

from matplotlib.figure import Figure


class Picture(Figure):  # type: ignore[misc,unused-ignore]
    """A Figure made without pyplot, for which alone notebooks know what to show."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()
