"""Exchanges recorded from a real TensorFlow Serving model server, and what is needed to have them again.

``rest.jsonl`` and ``grpc.jsonl`` hold one exchange a line, ``servers.json`` how the server of each set was started.
"""
