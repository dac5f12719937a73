"""Small ONNX files, written field by field as protobuf messages, so that no test needs the package `onnx` for them.

The numbers are the field numbers of onnx.proto3.
"""

FLOAT, BFLOAT16 = 1, 16
Fields = list[tuple[int, "int | str | bytes"]]


def message(fields: Fields) -> bytes:
    """Encode a message: whole numbers as varints, text and messages with their length."""
    encoded = b""
    for number, value in fields:
        if isinstance(value, int):
            encoded += _varint(number << 3) + _varint(value)
        else:
            content = value.encode() if isinstance(value, str) else value
            encoded += _varint(number << 3 | 2) + _varint(len(content)) + content
    return encoded


def _varint(value: int) -> bytes:
    head, rest = value & 0x7F, value >> 7
    return bytes([head | 0x80]) + _varint(rest) if rest else bytes([head])


def value_info(name: str, kind: int, dimension: int | str) -> bytes:
    """A vector of `dimension` elements; a name for any number."""
    size = message([(1, dimension) if isinstance(dimension, int) else (2, dimension)])
    tensor = message([(1, kind), (2, message([(1, size)]))])
    return message([(1, name), (2, message([(1, tensor)]))])


def external_tensor(name: str, length: int, location: str) -> bytes:
    """A float vector whose data is at the beginning of another file."""
    entries = {"location": location, "offset": "0", "length": str(4 * length)}
    data: Fields = [(13, message([(1, key), (2, value)])) for key, value in entries.items()]
    return message([(1, length), (2, FLOAT), (8, name), *data, (14, 1)])


def node(kind: str, inputs: list[str], output: str, **attributes: int) -> bytes:
    named: Fields = [(5, message([(1, name), (3, value), (20, 2)])) for name, value in attributes.items()]
    return message([*((1, name) for name in inputs), (2, output), (4, kind), *named])


def model(node: bytes, inputs: list[bytes], outputs: list[bytes], initializers: list[bytes]) -> bytes:
    """A model of one node."""
    graph: Fields = [(1, node), (2, "graph")]
    graph += [(5, tensor) for tensor in initializers]
    graph += [(11, value) for value in inputs]
    graph += [(12, value) for value in outputs]
    return message([(1, 9), (7, message(graph)), (8, message([(1, ""), (2, 20)]))])
