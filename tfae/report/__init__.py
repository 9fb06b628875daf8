"""One self-contained HTML page of a run, and what that of a comparison is made of.

    draw_pictures    of a run, as PNG files with descriptions
    write_run_page   metrics, findings, advice, and these pictures

A page opens from disk: pictures are inside of it, and it loads nothing. It has no script, follows the light or dark
mode of the system, and prints.
"""

from tfae.report.drawing import NUM_PICTURED
from tfae.report.run_page import draw_pictures, write_run_page

__all__ = ["NUM_PICTURED", "draw_pictures", "write_run_page"]
