"""Small .tflite files, written tensor by tensor."""

import flatbuffers
import numpy as np

IMAGE, MASK = (1, 8, 8, 3), (1, 8, 8)


def make_tflite(*operators, subgraphs: int = 1) -> bytes:
    """Makes a model of operators, in a row.

    Args:
        operators: each (name or number of the schema, version, inputs, outputs, options); an input or output is
            (type, shape), (type, shape, values) of a constant, the number of an earlier tensor or -1, or a dict of more
            fields of the schema's TensorT; options is None or an object of the schema, and of "CUSTOM" a name.
        subgraphs: how many times the model has the graph.
    """
    from tensorflow.lite.python import schema_py_generated as schema

    graph, codes, buffers = schema.SubGraphT(), [], [schema.BufferT()]
    graph.tensors, graph.operators = [], []

    def add_tensor(given):
        if isinstance(given, int):
            return given
        fields = given if isinstance(given, dict) else dict(zip(("type", "shape", "values"), given, strict=False))
        tensor = schema.TensorT()
        tensor.type, tensor.shape = getattr(schema.TensorType, fields["type"]), [*fields["shape"]]
        tensor.name, tensor.shapeSignature = f"t{len(graph.tensors)}", fields.get("signature")
        if "scale" in fields:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = [fields["scale"]], [fields.get("zero", 0)]
        if "values" in fields:
            kind = {"INT32": np.int32, "INT8": np.int8, "FLOAT32": np.float32, "FLOAT16": np.float16}[fields["type"]]
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(
                np.broadcast_to(fields["values"], fields["shape"]).astype(kind).tobytes(), np.uint8
            )
            tensor.buffer = len(buffers)
            buffers.append(buffer)
        graph.tensors.append(tensor)
        return len(graph.tensors) - 1

    for name, version, inputs, outputs, options in operators:
        code = schema.OperatorCodeT()
        number = name if isinstance(name, int) else getattr(schema.BuiltinOperator, name)
        code.builtinCode, code.deprecatedBuiltinCode, code.version = number, min(number, 127), version
        operator = schema.OperatorT()
        operator.opcodeIndex = len(codes)
        operator.inputs, operator.outputs = [*map(add_tensor, inputs)], [*map(add_tensor, outputs)]
        if name == "CUSTOM":
            code.customCode = options
        elif options is not None:
            operator.builtinOptions = options
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        codes.append(code)
        graph.operators.append(operator)
    graph.inputs, graph.outputs = [0], [len(graph.tensors) - 1]
    model = schema.ModelT()
    model.version, model.operatorCodes, model.buffers, model.subgraphs = 3, codes, buffers, [graph] * subgraphs
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def relu(version: int = 2, kind: str = "INT8"):
    """An operator of which most delegates take one of its kinds."""
    return "RELU", version, [(kind, IMAGE)], [(kind, IMAGE)], None
