"""The configurations that TensorFlow Serving reads, as text protos."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelConfig, ModelConfigList, ModelServerConfig

#: Path of the metrics for Prometheus, at the REST port.
METRICS_PATH = "/monitoring/prometheus/metrics"
#: A MonitoringConfig with metrics for Prometheus at the REST port.
MONITORING_CONFIG = f"""\
prometheus_config {{
  enable: true
  path: "{METRICS_PATH}"
}}
"""
#: Milliseconds that a REST call may take, TensorFlow Serving's own default.
REST_API_TIMEOUT_IN_MS = 30_000


def build_flags(
    models: Iterable[ModelConfig], *, model_config: str | None, monitoring: str | None, batching: str | None
) -> list[str]:
    """Return flags of tensorflow_model_server for configurations, each given by its path on the server if wanted."""
    flags = [f"--rest_api_timeout_in_ms={REST_API_TIMEOUT_IN_MS}"]
    if model_config is not None:
        flags.append(f"--model_config_file={model_config}")
    if any(model.version_labels for model in models):
        # The server reads the labels before it has loaded a version, and would not start.
        flags.append("--allow_version_labels_for_unavailable_models=true")
    if monitoring is not None:
        flags.append(f"--monitoring_config_file={monitoring}")
    if batching is not None:
        flags += ["--enable_batching=true", f"--batching_parameters_file={batching}"]
    return flags


def render_model_config(models: Iterable[ModelConfig]) -> str:
    """Return a ModelServerConfig; each ``base_path`` is a path on the server."""
    return text_format.MessageToString(ModelServerConfig(model_config_list=ModelConfigList(config=models)))


def render_batching_config(batch_sizes: Sequence[int], *, num_batch_threads: int) -> str:
    """Return BatchingParameters that allow batches of these sizes only, which ascend."""
    allowed = "".join(f"allowed_batch_sizes: {size}\n" for size in batch_sizes)
    return f"""\
# In force where the server is started with --enable_batching=true --batching_parameters_file=…

# A batch is filled up to the next of these numbers of rows, with copies of a row. They are those of the model's
# warm-up: a batch of any other size would be slow the first time.
{allowed}
# The last of the allowed sizes. A request with more rows is refused.
max_batch_size {{ value: {batch_sizes[-1]} }}

# How long the first request of a batch waits for others, in microseconds.
batch_timeout_micros {{ value: 1000 }}

# Batches that run at once; the number of CPUs is a good start.
num_batch_threads {{ value: {num_batch_threads} }}

# Batches that may wait before requests are refused with UNAVAILABLE, which clients try again later.
max_enqueued_batches {{ value: 100 }}
"""
