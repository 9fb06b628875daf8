"""What is in a figure."""

import io

from matplotlib.figure import Figure, SubFigure


def drawn(figure: Figure | SubFigure | None) -> None:
    """Draw for print; a missing glyph or a layout that collapses would warn, which is an error."""
    assert isinstance(figure, Figure)
    figure.savefig(io.BytesIO(), format="pdf")
