#!/usr/bin/env python3
"""Makes a safetensors file of a PyTorch state_dict, for network.file in a config.

Usage: convert_pth.py IN.pth OUT.safetensors

Takes a state_dict, or a checkpoint that holds one as "state_dict"; a prefix "module." of every name is
cut off. Floating-point tensors become float32, integers int64. Needs torch and nothing else. Nothing in
the file is executed: torch.load runs with weights_only=True.
"""

import argparse
import ctypes
import json
import os
import sys

import torch


def state_dict_of(loaded):
    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, dict) or not all(isinstance(t, torch.Tensor) for t in loaded.values()):
        sys.exit("convert_pth.py: the file holds no state_dict, nor a checkpoint with one: "
                 "save model.state_dict() with torch.save")
    if not loaded:
        sys.exit("convert_pth.py: the state_dict is empty")
    if any(tensor.is_complex() for tensor in loaded.values()):
        sys.exit("convert_pth.py: complex numbers have no place in a network of CMAT")
    if all(name.startswith("module.") for name in loaded):
        loaded = {name[len("module."):]: tensor for name, tensor in loaded.items()}
    return loaded


def plain(tensor):
    """The tensor as contiguous float32 or int64 on the CPU."""
    dtype = torch.float32 if tensor.is_floating_point() else torch.int64
    return tensor.detach().to("cpu", dtype).contiguous()


NAMES = {torch.float32: "F32", torch.int64: "I64", torch.uint8: "U8"}


def write_safetensors(path, tensors, metadata=None):
    """8 bytes of header length, the header as JSON, the data: 8-byte types first, so all is aligned."""
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))
    header, offset = {"__metadata__": metadata or {"format": "pt"}}, 0
    for name, tensor in ordered:
        end = offset + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape),
                        "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path + ".tmp", "wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for _, tensor in ordered:
            out.write(ctypes.string_at(tensor.data_ptr(), tensor.numel() * tensor.element_size()))
    os.replace(path + ".tmp", path)


def main():
    parser = argparse.ArgumentParser(description="Makes a safetensors file of a PyTorch state_dict.")
    parser.add_argument("input", help="a .pth or .pt file")
    parser.add_argument("output", help="the .safetensors file to write")
    arguments = parser.parse_args()
    if sys.byteorder != "little":
        sys.exit("convert_pth.py: safetensors files are little-endian, and this machine is not")
    loaded = torch.load(arguments.input, map_location="cpu", weights_only=True)
    tensors = {name: plain(tensor) for name, tensor in state_dict_of(loaded).items()}
    write_safetensors(arguments.output, tensors)
    print(f"{arguments.output}: {len(tensors)} tensors, {os.path.getsize(arguments.output)} bytes")


if __name__ == "__main__":
    main()
