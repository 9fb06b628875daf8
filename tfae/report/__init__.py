"""One self-contained HTML page of a run, or of a comparison.

    draw_pictures           of a run, as PNG files with descriptions
    write_run_page          measures, findings, advice, and these pictures
    write_comparison_page   the same for losses side by side

A page opens from disk: pictures are inside of it, and it loads nothing. It has no script, follows the light or dark
mode of the system, and prints.
"""

from tfae.report.comparison_page import write_comparison_page
from tfae.report.drawing import NUM_PICTURED
from tfae.report.run_page import draw_pictures, write_run_page

__all__ = ["NUM_PICTURED", "draw_pictures", "write_comparison_page", "write_run_page"]
