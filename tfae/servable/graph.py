"""Walks through the graph of a SavedModel and the functions in its library."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import final

from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef

#: Name of the function that holds a node, None for the graph itself; and the node.
Place = tuple[str | None, NodeDef]

#: What may change a variable. Those of TensorFlow 1 change variables of another kind.
_ASSIGNS = r"(?!Assign(Add|Sub)?$|ResourceGather(Nd)?$).*(Assign|Resource)\w*"
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
        self._substitutes = self._substitutes_of(meta_graph)
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
        names += [other for name in names for other in self._substitutes.get(name, ())]
        return [name for name in names if name in self._functions]

    def _substitutes_of(self, meta_graph: MetaGraphDef) -> dict[str, set[str]]:
        """Functions that TensorFlow may run in place of others: their gradients, and, as its optimizer chooses, those
        that say that they implement the same interface."""
        interfaces: dict[bytes, set[str]] = defaultdict(set)
        for name, function in self._functions.items():
            if "api_implements" in function.attr:
                interfaces[function.attr["api_implements"].s].add(name)
        found: dict[str, set[str]] = defaultdict(set)
        for names in interfaces.values():
            for name in names:
                found[name] |= names - {name}
        for gradient in meta_graph.graph_def.library.gradient:
            found[gradient.function_name].add(gradient.gradient_func)
        return found

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

    def sources(
        self, place: Place, index: int, *, load: Iterable[Place] = (), not_here: Iterable[Place] = ()
    ) -> set[str | None]:
        """Where a node's input of that index comes from, back through identities, variables and the
        arguments of functions.

        Args:
            place: The node.
            index: Of the input.
            load: All that runs before the node does. A variable that the graph itself reads counts as what is assigned
                to it there, if it is certain what that is.
            not_here: Places among them that must not assign to such a variable, as they run without the paths.

        Returns:
            Tensors of the graph itself, ``"node:0"``. None among them stands for something else, such as a constant
            inside of a function.
        """
        found: set[str | None] = set()
        waiting, seen = [(place[0], _input(place[1], index))], set()
        while waiting:
            scope, tensor = waiting.pop()
            if (scope, tensor) in seen:
                continue
            seen.add((scope, tensor))
            if scope is not None and tensor in self._arguments(scope):
                waiting += self._passed(scope, self._arguments(scope).index(tensor))
                continue
            node = self._node(scope, tensor)
            if node is None:
                found.add(None)
            elif node.op == "Identity":
                waiting.append((scope, _input(node, 0)))
            elif node.op == "ReadVariableOp" and scope is None:
                assigned = self._assigned(_input(node, 0), load, not_here)
                waiting += [(where, _input(assign, 1)) for where, assign in assigned]
                if not assigned:
                    found.add(None)
            else:
                found.add(tensor_name(tensor) if scope is None else None)
        return found

    def _node(self, scope: str | None, tensor: str) -> NodeDef | None:
        name = _node_name(tensor)
        if scope is None:
            return self._nodes.get(name)
        return next((inner for inner in self._functions[scope].node_def if inner.name == name), None)

    def _arguments(self, function: str) -> list[str]:
        return [argument.name for argument in self._functions[function].signature.input_arg]

    def _passed(self, function: str, index: int) -> Iterator[tuple[str | None, str]]:
        """What the callers of a function pass as the argument of that index: their scope and the tensor."""
        # With lists among the arguments, inputs of calls and arguments are not in step.
        lists = any(
            argument.number_attr or argument.type_list_attr
            for argument in self._functions[function].signature.input_arg
        )
        for scope, call in self._callers[function]:
            yield scope, _input(call, index) if call.op in _CALLS and not lists else ""

    def _assigned(self, handle: str, load: Iterable[Place], not_here: Iterable[Place]) -> list[Place]:
        """All that may assign to the variable with that handle during ``load``; empty if that is not certain."""
        shared_name = self._shared_name(handle)
        if shared_name is None:
            return []
        elsewhere = {(scope, node.name) for scope, node in not_here}
        found = []
        for place in load:
            scope, node = place
            if not re.fullmatch(_ASSIGNS, node.op):
                continue
            # A handle can also be made of a constant or of a parsed message, which may name any variable.
            names = {None if name is None else self._shared_name(name) for name in self.sources(place, 0)}
            if None in names:
                return []
            if shared_name in names:
                if node.op != "AssignVariableOp" or (scope, node.name) in elsewhere:
                    return []
                found.append(place)
        return found

    def _shared_name(self, handle: str) -> str | None:
        """What a variable is found by, whichever nodes refer to it; None if the tensor is not the handle of a variable,
        or of one without that name: those may all be the same."""
        node = self._nodes.get(_node_name(handle))
        if node is None or node.op != "VarHandleOp":
            return None
        return node.attr["shared_name"].s.decode("latin-1") or None if "shared_name" in node.attr else None


def tensor_name(tensor: str) -> str:
    """``"node:0"`` of ``"node"`` and ``"node:0"``."""
    return tensor if ":" in tensor else f"{tensor}:0"


def _input(node: NodeDef, index: int) -> str:
    """Name of a node's input; empty, which no node is called, if a damaged graph lacks it."""
    return node.input[index] if index < len(node.input) else ""


def _node_name(tensor: str) -> str:
    """``"node"`` of ``"node:0"``, ``"node:output:0"`` and ``"^node"``."""
    return tensor.lstrip("^").partition(":")[0]
