"""An exported autoencoder, loaded back: NumPy arrays in, NumPy arrays out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfae.columns_by_name import arrange_columns
from tfae.graph_messages import clean
from tfae.preprocessing import cast_exactly
from tfae.servable import Servable
from tfae.signature_methods import SignatureMethods
from tfae.signatures import SIGNATURES
from tfae.tensor_spec import TensorSpec

#: Samples that go through a signature at once; more only costs memory.
BATCH_SIZE = 1024


@final
class SavedAutoencoder(SignatureMethods):
    """The signatures of a SavedModel as methods, which take no options. Made by :func:`tfae.export.load`.

    Attributes:
        path: Folder of the version.
        description: What ``save`` wrote into ``tfae.json``.
        sample_shape: Shape of one sample.
        sample_dtype: Dtype of the inputs.
    """

    def __init__(self, path: Path, description: dict[str, Any]) -> None:
        self.path = path
        self.description = description
        self._servable = Servable(path)
        if self._servable.defect is not None:
            raise ValueError(f"path: expected a SavedModel that can answer; {self._servable.defect}.")
        for row in SIGNATURES:
            found = self._servable.signatures.get(row.name)
            if row.is_available is None and (found is None or found.inputs.keys() != row.inputs.keys()):
                raise ValueError(
                    f'path: expected a SavedModel with a signature "{row.name}" of {", ".join(row.inputs)}; received '
                    f"{path}."
                )
        inputs = self._servable.signatures["score"].inputs["inputs"]
        self.sample_shape: tuple[int, ...] = inputs.zeros(1).shape[1:]
        self.sample_dtype: np.dtype = inputs.dtype

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
        arrays = spec.fit(inputs, self._fit)
        num_rows = len(next(iter(arrays.values())))
        if not num_rows:  # The graph takes no empty batch.
            return {name: output.zeros(0) for name, output in spec.outputs.items()}
        chunks = []
        for start in range(0, num_rows, BATCH_SIZE):
            rows = {name: array[start : start + BATCH_SIZE] for name, array in arrays.items()}
            try:
                chunks.append(self._servable.run(signature, rows))
            except tf.errors.InvalidArgumentError as error:
                row = self._find_refused(signature, rows)
                where = "" if len(inputs) > 1 else self._describe_element(next(iter(rows.values()))[row])
                raise InvalidSampleError(clean(error.message), start + row, where) from None
        return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in spec.outputs}

    def _find_refused(self, signature: str, rows: dict[str, np.ndarray]) -> int:
        """Index of the first of some rows, of which the graph refuses one, that it refuses."""
        first, stop = 0, len(next(iter(rows.values())))
        while stop - first > 1:
            middle = (first + stop) // 2
            try:
                self._servable.run(signature, {name: array[first:middle] for name, array in rows.items()})
            except tf.errors.InvalidArgumentError:
                stop = middle
            else:
                first = middle
        return first

    def _describe_element(self, sample: np.ndarray) -> str:
        """Where a sample of floats has the number that is no number, or the largest."""
        if sample.dtype.kind != "f" or not sample.ndim:
            return ""
        sizes = np.where(np.isnan(sample), np.inf, np.abs(sample))
        place = np.unravel_index(sizes.argmax(), sample.shape)
        names = (self.description["data"] or {}).get("feature_names")
        element = f"column {names[place[0]]!r}" if names else f"element {', '.join(map(str, place))}"
        return f", which has {sample[place]:g} in {element}"

    def _call_with(self, signature: str, array: npt.ArrayLike, options: dict[str, Any]) -> dict[str, np.ndarray]:
        if options:
            raise TypeError(f"expected no options; received {', '.join(options)}.")
        known = self._servable.signatures.get(signature)
        return self.call(signature, **dict.fromkeys(known.inputs if known else ("inputs",), array))

    def _fit(self, name: str, given: npt.ArrayLike, spec: TensorSpec) -> np.ndarray:
        """An input in the shape and dtype of the signature."""
        given = arrange_columns(given, (self.description["data"] or {}).get("feature_names"), name=name)
        array = np.asarray(given, object if spec.is_string else None)
        spec.validate_shape(name, array.shape)
        return array if spec.is_string else cast_exactly(array, spec.dtype, name=name)


class InvalidSampleError(ValueError):
    """A sample that the model refuses.

    Attributes:
        message: What the graph says.
        index: Of the sample, from 0.
        where: What in it, or nothing.
    """

    def __init__(self, message: str, index: int, where: str = "") -> None:
        super().__init__(f"{message} It is sample {index}{where}.")
        self.message, self.index, self.where = message, index, where
