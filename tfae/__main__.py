"""``python -m tfae`` is ``tfae``."""

from tfae.cli import main

if __name__ == "__main__":
    main(prog_name="tfae")
