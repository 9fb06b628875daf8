"""TensorFlow Serving's REST interface.

    server    the thread, limits, the token
    connections  of clients, and what is not HTTP in them
    handler   one request, one answer
    paths     which request a path means
    document  the body as JSON values, as RapidJSON reads it
    inputs    JSON values as arrays
    answers   arrays, states, metadata and errors as JSON text

Nothing here depends on how a model is run; ``tfae.serving.local.models`` does that.
"""

from tfae.serving.local.rest.server import RestServer as RestServer
