"""skl2onnx: our estimators inside pipelines that it converts."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbackprop.interop.exported import exported, library
from fastbackprop.interop.onnx import Graph, add_estimator

ZIPMAP = {"zipmap": [True, False, "columns"], "nocl": [True, False], "output_class_labels": [False, True]}


def register_with_skl2onnx() -> None:
    """Let skl2onnx convert pipelines and other estimators of scikit-learn with ours inside; call it once before.

    Raises
    ------
    ImportError
        Where skl2onnx, the extra ``skl2onnx``, is not installed.

    Examples
    --------
    >>> import fastbackprop as fb
    >>> fb.interop.register_with_skl2onnx()  # from now on skl2onnx.to_onnx(pipeline, X) knows them
    """
    skl2onnx = library("skl2onnx", "interop.register_with_skl2onnx", "skl2onnx")
    shapes = library("skl2onnx.common.shape_calculator", "interop.register_with_skl2onnx", "skl2onnx")
    from fastbackprop.sklearn import MLPClassifier, MLPRegressor

    for kind, shape, options in (
        (MLPClassifier, shapes.calculate_linear_classifier_output_shapes, ZIPMAP),
        (MLPRegressor, shapes.calculate_linear_regressor_output_shapes, {}),
    ):
        skl2onnx.update_registered_converter(kind, f"Fastbackprop{kind.__name__}", shape, _convert, options=options)


def _convert(scope: Any, operator: Any, container: Any) -> None:
    """Add the nodes of an estimator; its input and outputs are of the types that skl2onnx has decided on."""
    found = exported(operator.raw_operator)
    g = Graph(found.net.dtype, f"{scope.get_unique_variable_name('fastbackprop')}.")
    x = g.cast(operator.inputs[0].full_name, g.dtype)
    names = [output.full_name for output in operator.outputs]
    inner = [g.name("result") for _ in names]
    add_estimator(g, found, x, (inner[0], inner[-1]))
    for name, result, output in zip(names, inner, operator.outputs):
        kind = type(output.type).__name__
        if kind == "StringTensorType":
            g.add("Identity", result, to=name)
        else:
            dtype = {"Int64TensorType": np.int64, "DoubleTensorType": np.float64}.get(kind, np.float32)
            g.cast(result, dtype, to=name)
    container.initializers.extend(g.constants)
    for node in g.nodes:
        attributes = {entry.name: g.onnx.helper.get_attribute_value(entry) for entry in node.attribute}
        inputs, outputs = list(node.input), list(node.output)
        container.add_node(node.op_type, inputs, outputs, op_domain=node.domain, name=node.name, **attributes)
