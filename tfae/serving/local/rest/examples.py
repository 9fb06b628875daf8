"""The tf.Examples of :classify and :regress, as far as they are looked at before any signature is."""

from __future__ import annotations

from tfae.serving.local.rest.tensor import decoded, invalid, is_base64
from tfae.serving.local.rest.values import Members, kind, quoted

#: What a feature may hold, by the type of its first value.
_KINDS = {bool: "int64", int: "int64", float: "float", str: "bytes", Members: "bytes"}


def check_examples(document: Members) -> None:
    """Refuse what cannot be turned into tf.Examples.

    Args:
        document: The request.

    Raises:
        StatusError: INVALID_ARGUMENT.
    """
    if "context" in document:
        _check_example(document.get("context"))
    if "examples" not in document:
        raise invalid(
            f"JSON Value: {quoted(document)} When method is classify, key 'examples' is expected and was not found"
        )
    examples = document.get("examples")
    if not isinstance(examples, list):
        raise invalid(f"JSON Value: {quoted(document)} Expecting 'examples' value to be an list/array")
    if not examples:
        raise invalid(f"JSON Value: {quoted(document)} 'examples' value is an empty array")
    for example in examples:
        _check_example(example)


def _check_example(example: object) -> None:
    if not isinstance(example, Members):
        raise invalid(f"Example must be JSON object but got JSON {kind(example)}")
    for name, content in example.pairs:
        found = ""
        for value in content if isinstance(content, list) else [content]:
            found = _check_value(name, value, found)


def _check_value(name: str, value: object, before: str) -> str:
    """The kind of a feature after one more of its values."""
    if value is None or isinstance(value, list) or (isinstance(value, Members) and not is_base64(value)):
        raise invalid(f"Feature: {name} has element with unexpected JSON type: {kind(value)}")
    after = _KINDS[type(value)]
    if before and before != after:
        # The real server says what it has, and calls it what it expects.
        raise invalid(f"Unexpected element type in feature: {name} expecting type: {before}")
    if isinstance(value, Members):
        decoded(value)
    if type(value) is int and value >= 2**63:
        raise invalid(f"Feature: {name} has uint64 element. Only int64 is supported.")
    return after
