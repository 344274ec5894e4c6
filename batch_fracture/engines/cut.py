"""Cut a graph in two, so that its early layers can be computed in fp32 and the rest in bf16.

Most of what bf16 costs in answers comes from the stem and the first block, whose activations are few: see
docs/performance.md. Where several networks answer together, each of them is cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from openvino import Model
from openvino import opset13 as opset

from batch_fracture.errors import ConfigError


def cut(first: Model, second: Model, *, sides: Sequence[int]) -> tuple[Model, Model]:
    """The part of a graph up to features of some side, and the rest.

    It is cut where one tensor is all that the rest of a network needs: of those with that side the one with
    the fewest channels, of equal ones the last.

    Args:
        first: the graph, an input (B, S, S) and an output `logit`, the mean of its networks'.
        second: another copy of it; both are taken apart.
        sides: of the features, one for each network.

    Returns:
        Graphs of the same input, and of the same outputs with their names; the second takes what the first
        gives.

    Raises:
        ConfigError: the graph can be cut nowhere at that side, or has not so many networks.
    """
    taken = []
    for start in _places(second, sides):
        shape = start.get_partial_shape()
        features = opset.parameter([-1, *(shape[axis].get_length() for axis in (1, 2, 3))], dtype=np.float32)
        for target in list(start.get_target_inputs()):
            target.replace_source_output(features.output(0))
        taken.append(features)
    ends = [opset.result(end) for end in _places(first, sides)]
    return Model(ends, first.get_parameters()), Model(second.get_results(), taken)


def _places(model: Model, sides: Sequence[int]) -> list[Any]:
    """The output to cut each network at."""
    return [
        _narrowest(network, side) for network, side in zip(_networks(model, len(sides)), sides, strict=True)
    ]


def _networks(model: Model, count: int) -> list[list[Any]]:
    """The operations that each network's logit needs, in order; the graph as it is if there is only one."""
    operations = model.get_ordered_ops()
    if count == 1:
        return [operations]
    fixed = _fixed(operations)
    at = model.output("logit").get_node()
    while True:
        sources = [given.get_source_output().get_node() for given in at.inputs()]
        sources = [source for source in sources if source.get_name() not in fixed]
        if len(sources) == count:
            return [_needed_by(source, operations) for source in sources]
        if len(sources) != 1:
            raise ConfigError(
                f"this bundle's graph does not end in the mean of {count} networks; export it again"
            )
        at = sources[0]


def _needed_by(last: Any, operations: Sequence[Any]) -> list[Any]:
    """All that an operation is computed from, itself included, in order."""
    needed = {last.get_name()}
    for operation in reversed(operations):
        if operation.get_name() in needed:
            needed |= {given.get_source_output().get_node().get_name() for given in operation.inputs()}
    return [operation for operation in operations if operation.get_name() in needed]


def _fixed(operations: Sequence[Any]) -> set[str]:
    """Constants, and what is computed from nothing else."""
    fixed: set[str] = set()
    for operation in operations:
        sources = {given.get_source_output().get_node().get_name() for given in operation.inputs()}
        if operation.get_type_name() == "Constant" or (sources and sources <= fixed):
            fixed.add(operation.get_name())
    return fixed


def _narrowest(operations: Sequence[Any], side: int) -> Any:
    """The output to cut at."""
    found = None
    for output in _bottlenecks(operations):
        shape = output.get_partial_shape()
        if shape.rank.get_length() != 4 or shape[2] != side or shape[3] != side:
            continue
        if found is None or shape[1].get_length() <= found.get_partial_shape()[1].get_length():
            found = output
    if found is None:
        raise ConfigError(
            f"this bundle's graph cannot be cut at {side} x {side} places; export it again, or choose "
            "another engine"
        )
    return found


def _bottlenecks(operations: Sequence[Any]) -> list[Any]:
    """Outputs that are, when they have just been computed, all that the rest of these operations needs."""
    place_of = {operation.get_name(): place for place, operation in enumerate(operations)}
    fixed = _fixed(operations)
    needed: dict[str, Any] = {}
    until: dict[str, int] = {}
    found: list[Any] = []
    for place, operation in enumerate(operations):
        if operation.get_name() in fixed:
            continue
        for number, output in enumerate(operation.outputs()):
            name = f"{operation.get_name()}:{number}"
            users = [target.get_node().get_name() for target in output.get_target_inputs()]
            needed[name] = output
            until[name] = max((place_of[user] for user in users if user in place_of), default=-1)
        needed = {name: output for name, output in needed.items() if until[name] > place}
        if len(needed) == 1:
            found += needed.values()
    return found
