"""Opens a finished CMAT model in PyTorch. This file is all there is to copy; it needs torch only.

    import cmat_torch
    network = cmat_torch.load("runs/tiny/model.safetensors", task=2)
    logits = network(images)        # images: float, [n, channels, height, width], pixels in [0, 1]

`load` returns an ordinary torch.nn.Module in eval mode that computes one task: its weights are the
task's effective weights, its state_dict has torch's usual names, and normalisation is its first
layer. docs/pytorch.md tells more, docs/run-format.md how the file is laid out.
"""

import json
import mmap

import torch
from torch import nn
from torch.nn import functional

_DTYPES = {"F32": torch.float32, "F64": torch.float64, "I64": torch.int64, "I32": torch.int32,
           "U8": torch.uint8}


class TensorFile:
    """A safetensors file; a tensor is read when it is asked for."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        length = int.from_bytes(self._data[:8], "little")
        if length > len(self._data) - 8:
            raise ValueError(f"{path} is cut short or not a safetensors file")
        self._start = 8 + length
        self._entries = json.loads(self._data[8:self._start])
        self.metadata = self._entries.pop("__metadata__", {})

    def __contains__(self, name):
        return name in self._entries

    def __getitem__(self, name):
        entry = self._entries[name]
        begin, end = entry["data_offsets"]
        dtype = _DTYPES[entry["dtype"]]
        data = bytearray(self._data[self._start + begin:self._start + end])
        if not data:
            return torch.empty(entry["shape"], dtype=dtype)
        return torch.frombuffer(data, dtype=dtype).reshape(entry["shape"])


class Normalize(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))

    def forward(self, x):
        return (x - self.mean.view(1, -1, 1, 1)) / self.std.view(1, -1, 1, 1)


def _module_of(layer):
    """The module of a layer with state, or None."""
    kind = layer["kind"]
    if kind == "normalize":
        return Normalize
    if kind == "conv":
        return lambda: nn.Conv2d(layer["in"], layer["out"], layer["kernel"], layer["stride"],
                                 layer["padding"], bias=layer["bias"])
    if kind == "batch_norm":
        return lambda: nn.BatchNorm2d(layer["out"], eps=1e-5, momentum=0.1)
    if kind == "linear":
        return lambda: nn.Linear(layer["in"], layer["out"], bias=layer["bias"])
    return None


class Network(nn.Module):
    """The layers of a description, one after the other; value 0 is the image, i + 1 layer i's."""

    def __init__(self, description, classes):
        super().__init__()
        self._layers = [dict(layer) for layer in description["layers"]]
        self._layers[-1]["out"] = classes
        for layer in self._layers:
            make = _module_of(layer)
            if make is None:
                continue
            module = make(description["channels"]) if make is Normalize else make()
            *path, name = layer["name"].split(".")
            parent = self
            for part in path:
                if not hasattr(parent, part):
                    parent.add_module(part, nn.Module())
                parent = getattr(parent, part)
            parent.add_module(name, module)

    def _apply_layer(self, layer, x):
        kind = layer["kind"]
        if "name" in layer:
            return self.get_submodule(layer["name"])(x[0])
        if kind == "relu":
            return functional.relu(x[0])
        if kind == "max_pool":
            return functional.max_pool2d(x[0], layer["kernel"], layer["stride"], layer["padding"])
        if kind == "global_avg_pool":
            return x[0].mean((2, 3))
        if kind == "adaptive_avg_pool":
            return functional.adaptive_avg_pool2d(x[0], layer["kernel"])
        if kind == "flatten":
            return x[0].flatten(1)
        if kind == "add":
            return x[0] + x[1]
        if kind == "dropout":
            return functional.dropout(x[0], layer["rate"], self.training)
        raise ValueError(f"this version of cmat_torch does not know the layer {kind}")

    def forward(self, images):
        values = [images]
        for layer in self._layers:
            values.append(self._apply_layer(layer, [values[i] for i in layer["inputs"]]))
        return values[-1]


def _unpack_bits(packed, count):
    """The first `count` bits, least significant first."""
    shifts = torch.arange(8, dtype=torch.uint8)
    return (packed[:, None] >> shifts & 1).flatten()[:count].bool()


def _effective(file, bank, name, shape, owner, picks):
    """The values that task `owner` uses, 0 elsewhere. A narrower task uses the leading corner."""
    corner = tuple(slice(0, length) for length in shape)
    values = file[f"{bank}{name}/values"][corner].contiguous()
    owners = file[f"{bank}{name}/owners"][corner].contiguous()
    older = (owners > 0) & (owners < owner)
    used = owners == owner
    if picks in file:
        picked = torch.zeros_like(used)
        picked[older] = _unpack_bits(file[picks], int(older.sum()))
        used |= picked
    else:
        used |= older
    return torch.where(used, values, torch.zeros_like(values))


def tasks(path):
    """How many tasks the model has learned; they count from 1."""
    return int(TensorFile(path)["model/state"][0])


def load(path, task, dtype=torch.float32):
    """Task `task` (from 1) of a finished run's model.safetensors, as a torch.nn.Module."""
    file = TensorFile(path)
    if "networks" not in file.metadata:
        raise ValueError(f"{path} is not the model.safetensors of a finished run, or is too old")
    networks = json.loads(file.metadata["networks"])
    learned = int(file["model/state"][0])
    if not 1 <= task <= learned:
        raise ValueError(f"the model has learned the tasks 1 to {learned}, not {task}")
    part = f"model/task{task}/"
    network = Network(networks["descriptions"][networks["tasks"][task - 1]],
                      int(file[part + "classes"]))
    head = network._layers[-1]["name"] + "."
    # Where tasks overwrite each other, the body is the last task's and only the head is the task's.
    overwritten = networks["sharing"] == "overwritten"
    owner = learned if overwritten else task
    bank = f"model/bank{task - 1 if networks['sharing'] == 'separate' else 0}/"
    state = {}
    for name, tensor in network.state_dict().items():
        source = f"model/task{owner}/" if overwritten and not name.startswith(head) else part
        if source + name in file:
            state[name] = file[source + name]
        else:
            picks = f"{source}{name}/picks"
            state[name] = _effective(file, bank, name, tensor.shape, owner, picks)
    network.load_state_dict(state)
    return network.to(dtype).eval()
