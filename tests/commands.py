"""The command line, in this process."""

from click.testing import CliRunner

from tfae.cli import main


def run(*arguments, code=0):
    """What a command printed; an error unless it ended with that exit code."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exit_code != code:
        raise AssertionError(f"exit code {result.exit_code}\n{result.output}") from result.exception
    return result
