"""Walks through the graph of a SavedModel and the functions in its library."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import final

from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef

#: Name of the function that holds a node, None for the graph itself; and the node.
Place = tuple[str | None, NodeDef]

_VARIABLE_OPS = {"AssignVariableOp", "ReadVariableOp", "VarIsInitializedOp"}
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")


@final
class Graph:
    """The nodes of a SavedModel, and how they hang together.

    Args:
        meta_graph: From :func:`tfae.servable.read_meta_graph`.
    """

    def __init__(self, meta_graph: MetaGraphDef) -> None:
        self._nodes = {node.name: node for node in meta_graph.graph_def.node}
        self._functions = {function.signature.name: function for function in meta_graph.graph_def.library.function}
        self._callers: dict[str, list[Place]] = defaultdict(list)
        for scope, node in self:
            for name in self.called(node):
                self._callers[name].append((scope, node))

    def __iter__(self) -> Iterator[Place]:
        """All nodes, those of every function included."""
        for node in self._nodes.values():
            yield None, node
        for name, function in self._functions.items():
            for node in function.node_def:
                yield name, node

    def called(self, node: NodeDef) -> list[str]:
        """Names of the functions that a node calls, or may call."""
        names = [node.op]
        for attribute in node.attr.values():
            names += [attribute.func.name, *(function.name for function in attribute.list.func)]
        return [name for name in names if name in self._functions]

    def is_compiled(self, node: NodeDef) -> bool:
        """Whether a node calls something that XLA must compile, ``tf.function(jit_compile=True)``."""
        attributes = [node.attr, *(self._functions[name].attr for name in self.called(node))]
        # Asking a protobuf map for a key that it lacks would add it.
        return any("_XlaMustCompile" in given and given["_XlaMustCompile"].b for given in attributes)

    def behind(self, tensors: Iterable[str]) -> Iterator[Place]:
        """Every node that may run when ``tensors``, or operations, of the graph are asked for."""
        waiting = [_node_name(tensor) for tensor in tensors]
        seen, functions = set(waiting), set[str]()
        while waiting:
            node = self._nodes.get(waiting.pop())
            if node is None:
                continue
            found = [_node_name(name) for name in node.input if _node_name(name) not in seen]
            seen.update(found)
            waiting += found
            yield None, node
            yield from self._inside(node, functions)

    def _inside(self, node: NodeDef, seen: set[str]) -> Iterator[Place]:
        waiting = self.called(node)
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            for inner in self._functions[name].node_def:
                yield name, inner
                waiting += self.called(inner)

    def sources(self, place: Place, index: int) -> set[str | None]:
        """Where a node's input of that index comes from, back through identities, variables and the
        arguments of functions.

        Returns:
            Names of nodes of the graph itself. None among them stands for something else, such as a constant inside
            of a function.
        """
        found: set[str | None] = set()
        waiting, seen = [(place[0], place[1].input[index])], set()
        while waiting:
            scope, tensor = waiting.pop()
            if (scope, tensor) in seen:
                continue
            seen.add((scope, tensor))
            name = _node_name(tensor)
            if scope is None:
                node = self._nodes.get(name)
            else:
                function = self._functions[scope]
                arguments = [argument.name for argument in function.signature.input_arg]
                if name in arguments:
                    for caller, call in self._callers[scope]:
                        if call.op in _CALLS:
                            waiting.append((caller, call.input[arguments.index(name)]))
                        else:
                            found.add(None)
                    continue
                node = next((inner for inner in function.node_def if inner.name == name), None)
            if node is not None and node.op == "Identity":
                waiting.append((scope, node.input[0]))
            elif node is not None and node.op == "ReadVariableOp" and scope is None and self._is_private(node.input[0]):
                waiting += [
                    (None, user.input[1]) for user in self._users(node.input[0]) if user.op == "AssignVariableOp"
                ]
            else:
                found.add(name if scope is None else None)
        return found

    def _users(self, variable: str) -> list[NodeDef]:
        """Nodes of the graph itself that take a variable."""
        return [node for node in self._nodes.values() if _node_name(variable) in map(_node_name, node.input)]

    def _is_private(self, variable: str) -> bool:
        """Whether no function gets hold of a variable, so that all that can be assigned to it is seen here."""
        return {user.op for user in self._users(variable)} <= _VARIABLE_OPS


def _node_name(tensor: str) -> str:
    """``"node"`` of ``"node:0"``, ``"node:output:0"`` and ``"^node"``."""
    return tensor.lstrip("^").partition(":")[0]
