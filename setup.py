"""What setup.cfg can not say: a wheel carries the guides of docs/, which ``tfae docs`` shows."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithGuides(build_py):
    """Copies the guides into the package; an editable one reads them where they are."""

    def run(self) -> None:
        """Build, and copy."""
        super().run()
        if not self.editable_mode:
            folder = Path(self.build_lib, "tfae", "cli", "guides")
            folder.mkdir(parents=True, exist_ok=True)
            for page in Path("docs").glob("*.md"):
                self.copy_file(str(page), str(folder / page.name))


setup(cmdclass={"build_py": BuildWithGuides})
