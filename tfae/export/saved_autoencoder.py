"""An exported autoencoder, loaded back: NumPy arrays in, NumPy arrays out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfae.columns import Column, join_columns, split_matrix
from tfae.columns_by_name import expand_inputs, is_named, take_columns
from tfae.graph_messages import clean
from tfae.servable import Servable
from tfae.signatures import SAMPLES, SIGNATURES, SignatureMethods

#: Numbers that go through a signature at once, but for large samples; more only costs memory.
BATCH_ELEMENTS = 2**18


@final
class SavedAutoencoder(SignatureMethods):
    """The signatures of a SavedModel as methods, which take no options. Made by :func:`tfae.export.load`.

    Attributes:
        path: Folder of the version.
        description: What ``save`` wrote into ``tfae.json``.
        sample_shape: Shape of one sample.
        sample_dtype: Name of the dtype of the data that the model was trained on.
        columns: Of a table with names, in the order of the training data; none of all else.
        detects: Whether it was exported with a calibration, and answers to ``detect``.
    """

    def __init__(self, path: Path, description: dict[str, Any]) -> None:
        self.path = path
        self.description = description
        self.columns = tuple(Column(**each) for each in description["preprocessing"].get("columns", ()))
        self._names = [column.name for column in self.columns]
        self._servable = Servable(path)
        if self._servable.defect is not None:
            raise ValueError(f"path: expected a SavedModel that can answer; {self._servable.defect}.")
        for row in SIGNATURES:
            found = self._servable.signatures.get(row.name)
            inputs = row.inputs.keys() if SAMPLES not in row.inputs.values() or not self.columns else set(self._names)
            if row.is_available is None and (found is None or found.inputs.keys() != inputs):
                raise ValueError(
                    f'path: expected a SavedModel with a signature "{row.name}" of {", ".join(row.inputs)}; received '
                    f"{path}."
                )
        self.sample_shape: tuple[int, ...] = tuple(description["preprocessing"]["sample_shape"])
        self.sample_dtype: str = description["preprocessing"]["sample_dtype"]
        self.detects = "detect" in self._servable.signatures

    def call(self, signature: str, /, **inputs: npt.ArrayLike) -> dict[str, np.ndarray]:
        """All outputs of any signature, by name.

        Args:
            signature: Name of the signature, of the table or the export's own.
            inputs: Arrays by name, with the same number of rows. Strings are bytes. Samples of a table with names are
                taken as data frames and records, too, whose columns may come in any order, with others beside them.

        Returns:
            Arrays by name; strings as object arrays of bytes.

        Raises:
            ValueError: If there is no such signature, or names, shapes, dtypes or values do not fit.
        """
        if signature not in self._servable.signatures:
            raise ValueError(
                f"signature: expected one of {', '.join(self._servable.signatures)}; received {signature!r}."
            )
        spec = self._servable.signatures[signature]
        arrays = spec.fit(expand_inputs(inputs, spec.inputs, self._split) if self._names else inputs)
        num_rows = len(next(iter(arrays.values())))
        if not num_rows:  # The graph takes no empty batch.
            return {name: output.zeros(0) for name, output in spec.outputs.items()}
        size = max(64, BATCH_ELEMENTS // math.prod(self.sample_shape))

        def run(rows: slice) -> dict[str, np.ndarray]:
            return self._servable.run(signature, {name: array[rows] for name, array in arrays.items()})

        chunks: list[Any] = []
        for start in range(0, num_rows, size):
            chunk = slice(start, min(start + size, num_rows))
            for rows, answer in ask_by_halves(run, chunk, tf.errors.InvalidArgumentError):
                if isinstance(answer, tf.errors.InvalidArgumentError):
                    where = self._describe_element({name: array[rows.start] for name, array in arrays.items()})
                    raise InvalidSampleError(clean(answer.message), rows.start, where)
                chunks.append(answer)
        return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in spec.outputs}

    def _describe_element(self, inputs: dict[str, Any]) -> str:
        """Where a sample has the number that is no number, or the largest."""
        values = {
            (name, place): float(value)
            for name, array in inputs.items()
            if np.asarray(array).dtype.kind == "f"
            for place, value in np.ndenumerate(array)
        }
        if not values:
            return ""
        name, place = max(values, key=lambda key: np.nan_to_num(abs(values[key]), nan=np.inf))
        element = f"column {name!r}" if name in self._names else f"element {', '.join(map(str, place))}"
        return f", which has {values[name, place]:g} in {element}"

    def _call_with(self, signature: str, array: npt.ArrayLike, options: dict[str, Any]) -> dict[str, np.ndarray]:
        if options:
            raise TypeError(f"expected no options; received {', '.join(options)}.")
        known = self._servable.signatures.get(signature)
        names = known.inputs if known and known.inputs.keys() != set(self._names) else ("inputs",)
        return self.call(signature, **dict.fromkeys(names, array))

    def _gather(self, columns: dict[str, np.ndarray], inputs: Any) -> Any:
        return columns if is_named(inputs) else join_columns(columns, self.columns)

    def _split(self, given: Any, names: list[str]) -> dict[str, Any]:
        """The columns of a table by name: of a frame or of records, or of an array in the order of the training."""
        if is_named(given) or np.ndim(given) != 2:
            return take_columns(given, [name for name in self._names if name in names])
        array = np.asarray(given)
        if array.shape[1] != len(self._names):
            raise ValueError(f"inputs: expected {len(self._names)} columns; received an array of shape {array.shape}.")
        return split_matrix(array, self.columns)


class InvalidSampleError(ValueError):
    """A sample that the model refuses; the reason is what the graph says, and of which element."""

    def __init__(self, message: str, index: int, where: str) -> None:
        super().__init__(f"{message} It is sample {index}{where}.")
        self.reason = f"{message.rstrip('.')}{where}"


def ask_by_halves(ask: Callable[[slice], Any], rows: slice, refusal: type[Exception]) -> Iterator[tuple[slice, Any]]:
    """Yield the answers to rows, half by half where they are refused together; to a refused row it is the error."""
    try:
        answer = ask(rows)
    except refusal as error:
        middle = (rows.start + rows.stop) // 2
        if middle > rows.start:
            yield from ask_by_halves(ask, slice(rows.start, middle), refusal)
            yield from ask_by_halves(ask, slice(middle, rows.stop), refusal)
            return
        answer = error
    yield rows, answer
