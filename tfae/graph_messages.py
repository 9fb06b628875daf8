"""What the errors of a graph say, without where in the graph. Imports no TensorFlow."""

from __future__ import annotations

import re

#: A heading of TensorFlow, and nodes of the graph, which mean nothing to the caller.
_NODE = re.compile(
    r"^Graph execution error:\s*|\s*\[\[(?:\{\{[^}]*\}\})+\]\]|\{\{function_node [^}]*\}\}\s*"
    r"|\s*\[Op:\w+\]( name:\s*)?$"
)
_ASSERTION = re.compile(r"assertion failed: \[(.*)\]", re.DOTALL)


def clean(message: str) -> str:
    """A message without the names of nodes and the brackets of a failed assertion.

    Example:
        >>> clean("assertion failed: [x: expected shape] [2 3]\\n\\t [[{{node Assert}}]]")
        'x: expected shape 2 3'
    """
    message = _NODE.sub("", message)
    assertion = _ASSERTION.search(message)
    return (assertion[1].replace("] [", " ") if assertion else message).strip()


def summarize(error: Exception) -> str:
    """The first line of what an error of TensorFlow, or another, says."""
    return clean(str(getattr(error, "message", error))).partition("\n")[0] or "no message"
