"""What operations want: configurations, a compose file, a Kubernetes manifest and a probe that asks the model.

    Deployment   what is to be deployed, and how
    write        writes the folder of files

Each is imported when it is first used: the configurations alone need no TensorFlow.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from tfae.serving.deployment.deployment import Deployment as Deployment
    from tfae.serving.deployment.folder import write as write

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submod_attrs={"deployment": ["Deployment"], "folder": ["write"]}
)
