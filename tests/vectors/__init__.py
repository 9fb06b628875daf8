"""Exchanges recorded from a real TensorFlow Serving model server, one a line, and how each set's server was started."""
