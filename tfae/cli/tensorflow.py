"""The late import of TensorFlow."""

from __future__ import annotations

import os
import sys
import tempfile


def import_tensorflow() -> None:
    """Import TensorFlow without the lines that its C++ parts print on the way.

    They announce which instructions and drivers there are, before any setting can tell them not to. What they print
    is shown if the import fails.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as muted:
        os.dup2(muted.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()
        except BaseException:
            muted.seek(0)
            os.write(stderr, muted.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
