"""Files for operations: configurations, a compose file, a Kubernetes manifest and a readiness probe.

Deployment   the settings of a deployment
write        writes the folder of files
"""

from tfae.serving.deployment.folder import Deployment, write

__all__ = ["Deployment", "write"]
