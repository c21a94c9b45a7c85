"""Reads exported networks as their users do, and compares their logits with CMAT's.

    export_check.py FOLDER

For each FOLDER/NAME.check (a safetensors file with `images`, `logits` and the metadata `task` and
`classes`) the file FOLDER/NAME is loaded: .onnx by onnxruntime, .pt and .safetensors by torch.
"""

import json
import pathlib
import struct
import sys
import warnings

TOLERANCE = 1e-4
warnings.filterwarnings("ignore", message=".*NumPy.*")


def read_safetensors(path):
    """Metadata, and (shape, bytes) of each float32 tensor."""
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    metadata = header.pop("__metadata__")
    tensors = {}
    for name, entry in header.items():
        assert entry["dtype"] == "F32", name
        begin, end = entry["data_offsets"]
        tensors[name] = (entry["shape"], data[8 + size + begin : 8 + size + end])
    return metadata, tensors


def run_onnx(path, shape, images):
    """Metadata, and a function from a number of images to their logits."""
    import numpy
    import onnx
    import onnxruntime

    onnx.checker.check_model(onnx.load(path), full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    pixels = numpy.frombuffer(images, numpy.float32).reshape(shape)
    input_shape = session.get_inputs()[0].shape
    assert input_shape[0] == "batch" and input_shape[1] == shape[1], input_shape
    if isinstance(input_shape[2], str):  # any size will do
        larger = numpy.zeros((2, shape[1], shape[2] + 5, shape[3] + 8), numpy.float32)
        assert session.run(None, {"image": larger})[0].shape[0] == 2
    else:
        assert input_shape[2:] == shape[2:], input_shape
    metadata = session.get_modelmeta().custom_metadata_map
    return metadata, lambda count: session.run(["logits"], {"image": pixels[:count]})[0].tolist()


def tensor_of(shape, data):
    import torch

    return torch.frombuffer(bytearray(data), dtype=torch.float32).reshape(shape)


def run_torchscript(path, shape, images):
    import torch

    files = {"task": "", "classes": ""}
    module = torch.jit.load(str(path), _extra_files=files)
    metadata = {key: value.decode() for key, value in files.items()}
    return metadata, lambda count: module(tensor_of(shape, images)[:count]).tolist()


def forward(layers, state, images):
    """The network that the metadata of a safetensors file describes, as in docs/export.md."""
    import torch
    from torch.nn import functional as F

    values = [images]
    for layer in layers:
        x = values[layer["inputs"][0]]
        own = {
            key.rpartition(".")[2]: tensor
            for key, tensor in state.items()
            if key.rpartition(".")[0] == layer.get("name")
        }
        window = (layer.get("stride"), layer.get("padding"))
        kind = layer["kind"]
        if kind == "normalize":
            x = (x - own["mean"].view(1, -1, 1, 1)) / own["std"].view(1, -1, 1, 1)
        elif kind == "conv":
            x = F.conv2d(x, own["weight"], own.get("bias"), *window)
        elif kind == "batch_norm":
            x = F.batch_norm(x, own["running_mean"], own["running_var"], own["weight"], own["bias"])
        elif kind == "relu":
            x = torch.relu(x)
        elif kind == "max_pool":
            x = F.max_pool2d(x, layer["kernel"], *window)
        elif kind == "global_avg_pool":
            x = x.mean((2, 3))
        elif kind == "adaptive_avg_pool":
            x = F.adaptive_avg_pool2d(x, layer["kernel"])
        elif kind == "flatten":
            x = x.flatten(1)
        elif kind == "add":
            x = x + values[layer["inputs"][1]]
        elif kind == "linear":
            x = F.linear(x, own["weight"], own.get("bias"))
        else:
            raise ValueError(f"unknown kind of layer: {kind}")
        values.append(x)
    return values[-1]


def run_safetensors(path, shape, images):
    metadata, tensors = read_safetensors(path)
    state = {name: tensor_of(*stored) for name, stored in tensors.items()}
    layers = json.loads(metadata["layers"])
    pixels = tensor_of(shape, images)
    return metadata, lambda count: forward(layers, state, pixels[:count]).tolist()


RUNNERS = {".onnx": run_onnx, ".pt": run_torchscript, ".safetensors": run_safetensors}


def check(path, expected_path):
    expected, tensors = read_safetensors(expected_path)
    shape, images = tensors["images"]
    (count, classes), logits = tensors["logits"]
    logits = struct.unpack(f"<{count * classes}f", logits)
    metadata, run = RUNNERS[path.suffix](path, shape, images)
    for key in ("task", "classes"):
        assert metadata[key] == expected[key], (path, key, metadata[key])
    scale = max(1.0, max(map(abs, logits)))
    for batch in (1, count):
        found = [value for row in run(batch) for value in row]
        assert len(found) == batch * classes, (path, batch, len(found))
        difference = max(abs(a - b) for a, b in zip(found, logits))
        assert difference <= TOLERANCE * scale, f"{path}, batch {batch}: logits differ by {difference}"
    # A network that gave the same for every image would pass without having been tested.
    assert len({logits[i] for i in range(0, len(logits), classes)}) > 1, path


def main():
    import importlib.util

    has_onnx = importlib.util.find_spec("onnxruntime") is not None
    checked = 0
    for expected in sorted(pathlib.Path(sys.argv[1]).glob("*.check")):
        path = expected.with_suffix("")
        if (path.suffix == ".onnx") == has_onnx:
            check(path, expected)
            checked += 1
    assert checked > 0, "nothing to check"
    print(f"{checked} files checked")


if __name__ == "__main__":
    main()
