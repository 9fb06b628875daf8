"""What the graph of an export may not hold, because a server would load it and then fail."""

from __future__ import annotations

from pathlib import Path

from tfae.servable import dangerous_operations, parse_signatures, read_meta_graph, unservable_signatures

#: Dtypes that spoil an answer of TensorFlow Serving, or can not be sent to it.
_UNSERVABLE = ("float16", "bfloat16", "uint16", "complex64", "complex128")


def validate_graph(path: Path) -> None:
    """Raise for a SavedModel that TensorFlow Serving loads, and that then fails or spoils its answers.

    Args:
        path: Its folder. Nothing of it is run.

    Raises:
        ValueError: If the graph holds operations that may do more than compute, or needs XLA; or if an input or output
            has no batch axis or a dtype that the server does not carry.
    """
    # Here, because the functions of Python code still exist in this process, so that the code would run.
    meta_graph = read_meta_graph(path)
    found = dangerous_operations(meta_graph)
    for name, error in unservable_signatures(meta_graph).items():
        found.append(f"{error.message.splitlines()[0]}: signature {name}")
    for signature in parse_signatures(meta_graph.signature_def).values():
        for name, info in {**signature.inputs, **signature.outputs}.items():
            if info.dtype_name in _UNSERVABLE:
                found.append(f"{signature.name}: {name} of dtype {info.dtype_name}")
            if not info.shape or info.shape[0] is not None:
                found.append(f"{signature.name}: {name} of {info}, without a batch axis")
    if found:
        raise ValueError(
            f"autoencoder: expected a graph that TensorFlow Serving can run; received one with {'; '.join(found)}. "
            "Nothing was published: build its layers of operations that only compute, without jit_compile."
        )
