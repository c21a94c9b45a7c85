#!/usr/bin/env python3
"""Writes tests/golden/networks.json: logits of every architecture, computed by PyTorch in float64.

The networks are written here a second time, in plain torch.nn, and nothing of CMAT is used. Weights
and images come from a formula that both sides compute, so only logits are stored:

  entry i of the tensor NAME (row-major) is scale * u(h(NAME, i)) + offset, where
    salt    = FNV-1a, 32 bits, of NAME
    z       = (2654435761 i + salt) mod 2^32;  z ^= z >> 16
    z       = (73244475 z) mod 2^32;           z ^= z >> 16
    z       = (73244475 z) mod 2^32;           z ^= z >> 16
    u       = 2 z / 2^32 - 1, in [-1, 1)
  weights of two and more dimensions: offset 0, scale sqrt(6 / fan-in)
  norm layers: weight and running_var offset 1, scale 0.25; bias and running_mean offset 0, scale 0.1
  other biases: offset 0, scale 0.1
  the image batch, under the name "images": offset 0.5, scale 0.5

Usage: .deps/python/bin/python tools/golden/make_network_goldens.py
"""

import json
import math
import pathlib

import torch
from torch import nn

MASK = 2**32 - 1


def hashed(name, shape):
    """u of the formula above, as float64."""
    salt = 2166136261
    for byte in name.encode():
        salt = ((salt ^ byte) * 16777619) & MASK
    count = math.prod(shape)
    z = (torch.arange(count, dtype=torch.int64) * 2654435761 + salt) & MASK
    z ^= z >> 16
    for _ in range(2):
        z = (z * 73244475) & MASK
        z ^= z >> 16
    return (z.double() / 2**31 - 1).reshape(shape)


def fill(network):
    norms = {name for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)}
    for name, tensor in network.state_dict().items():
        owner, _, kind = name.rpartition(".")
        if kind == "num_batches_tracked":
            continue
        if owner in norms:
            one = kind in ("weight", "running_var")
            offset, scale = (1, 0.25) if one else (0, 0.1)
        elif kind == "weight":
            offset, scale = 0, math.sqrt(6 / math.prod(tensor.shape[1:]))
        else:
            offset, scale = 0, 0.1
        tensor.copy_(offset + scale * hashed(name, tensor.shape))


def images(batch, channels, height, width):
    return 0.5 + 0.5 * hashed("images", (batch, channels, height, width))


class Normalised(nn.Module):
    def __init__(self, body, mean, std):
        super().__init__()
        self.body, self.mean, self.std = body, mean, std

    def forward(self, x):
        view = (1, -1, 1, 1)
        mean = torch.tensor(self.mean, dtype=x.dtype).view(view)
        return self.body((x - mean) / torch.tensor(self.std, dtype=x.dtype).view(view))


class BasicBlock(nn.Module):
    def __init__(self, width_in, planes, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = shortcut(width_in, planes, stride)

    def forward(self, x):
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        return (y + self.downsample(x)).relu()


class Bottleneck(nn.Module):
    def __init__(self, width_in, planes, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, 4 * planes, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * planes)
        self.downsample = shortcut(width_in, 4 * planes, stride)

    def forward(self, x):
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())).relu()
        return (self.bn3(self.conv3(y)) + self.downsample(x)).relu()


def shortcut(width_in, width_out, stride):
    if stride == 1 and width_in == width_out:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(width_in, width_out, 1, stride, bias=False),
                         nn.BatchNorm2d(width_out))


class ResNet(nn.Module):
    """Groups of blocks; `stem` is (kernel, stride), `pool` the 3x3 max-pooling of ImageNet's."""

    def __init__(self, channels, classes, block, planes, counts, stem, pool, head):
        super().__init__()
        kernel, stride = stem
        self.conv1 = nn.Conv2d(channels, planes[0], kernel, stride, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(planes[0])
        self.pool = nn.MaxPool2d(3, 2, 1) if pool else nn.Identity()
        expansion = 4 if block is Bottleneck else 1
        width = planes[0]
        self.groups = []
        for group, (out, count) in enumerate(zip(planes, counts)):
            blocks = []
            for i in range(count):
                blocks.append(block(width, out, 2 if group > 0 and i == 0 else 1))
                width = expansion * out
            self.groups.append(f"layer{group + 1}")
            self.add_module(self.groups[-1], nn.Sequential(*blocks))
        self.head_name = head
        self.add_module(head, nn.Linear(width, classes))

    def forward(self, x):
        x = self.pool(self.bn1(self.conv1(x)).relu())
        for group in self.groups:
            x = getattr(self, group)(x)
        return getattr(self, self.head_name)(x.mean((2, 3)))


def vgg_features(channels, width, bias):
    layers = []
    for out in [64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"]:
        if out == "M":
            layers.append(nn.MaxPool2d(2, 2))
            continue
        out = round(out * width)
        layers += [nn.Conv2d(channels, out, 3, 1, 1, bias=bias), nn.BatchNorm2d(out), nn.ReLU()]
        channels = out
    return nn.Sequential(*layers), channels


class Vgg16Imagenet(nn.Module):
    def __init__(self, channels, classes, width):
        super().__init__()
        self.features, out = vgg_features(channels, width, bias=True)
        hidden = round(4096 * width)
        self.pool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(out * 49, hidden), nn.ReLU(), nn.Dropout(),
            nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(), nn.Linear(hidden, classes))

    def forward(self, x):
        return self.classifier(self.pool(self.features(x)).flatten(1))


class Vgg16(nn.Module):
    def __init__(self, channels, classes, width, side):
        super().__init__()
        self.features, out = vgg_features(channels, width, bias=False)
        hidden = round(4096 * width)
        self.classifier = nn.Sequential(nn.Linear(out * (side // 32) ** 2, hidden), nn.ReLU(),
                                        nn.Linear(hidden, hidden), nn.ReLU())
        self.head = nn.Linear(hidden, classes)

    def forward(self, x):
        return self.head(self.classifier(self.features(x).flatten(1)))


class SmallCnn(nn.Module):
    def __init__(self, channels, classes, width, side):
        super().__init__()
        planes = [round(p * width) for p in (16, 32, 64)]
        self.conv1 = nn.Conv2d(channels, planes[0], 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes[0])
        self.conv2 = nn.Conv2d(planes[0], planes[1], 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes[1])
        self.conv3 = nn.Conv2d(planes[1], planes[2], 3, 2, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(planes[2])
        left = math.ceil(math.ceil(side / 2) / 2) // 2
        self.fc1 = nn.Linear(planes[2] * left**2, round(64 * width))
        self.head = nn.Linear(round(64 * width), classes)

    def forward(self, x):
        for conv, norm in ((self.conv1, self.bn1), (self.conv2, self.bn2), (self.conv3, self.bn3)):
            x = norm(conv(x)).relu()
        return self.head(self.fc1(nn.functional.max_pool2d(x, 2).flatten(1)).relu())


class Linear(nn.Module):
    def __init__(self, channels, classes, side):
        super().__init__()
        self.head = nn.Linear(channels * side * side, classes)

    def forward(self, x):
        return self.head(x.flatten(1))


class Tiny(nn.Module):
    def __init__(self, channels, classes, width, norm):
        super().__init__()
        a, b = round(6 * width), round(12 * width)
        self.conv1 = nn.Conv2d(channels, a, 3, 1, 1)
        self.conv2 = nn.Conv2d(a, b, 3, 1, 1)
        if norm:
            self.bn1, self.bn2 = nn.BatchNorm2d(a), nn.BatchNorm2d(b)
        self.norm = norm
        self.fc = nn.Linear(b, classes)

    def forward(self, x):
        x = self.conv1(x)
        x = nn.functional.max_pool2d((self.bn1(x) if self.norm else x).relu(), 2)
        x = self.conv2(x)
        return self.fc((self.bn2(x) if self.norm else x).relu().mean((2, 3)))


def build(architecture, width, channels, side, classes):
    def planes(count):
        return [round(64 * 2**i * width) for i in range(count)]

    if architecture == "resnet8":
        return ResNet(channels, classes, BasicBlock, [round(p * width) for p in (16, 32, 64)],
                      [1, 1, 1], (3, 2), False, "head")
    if architecture == "resnet18":
        return ResNet(channels, classes, BasicBlock, planes(4), [2] * 4, (3, 1), False, "fc")
    if architecture == "resnet18_imagenet":
        return ResNet(channels, classes, BasicBlock, planes(4), [2] * 4, (7, 2), True, "fc")
    if architecture == "resnet50_imagenet":
        return ResNet(channels, classes, Bottleneck, planes(4), [3, 4, 6, 3], (7, 2), True, "fc")
    if architecture == "vgg16_bn":
        return Vgg16(channels, classes, width, side)
    if architecture == "vgg16_bn_imagenet":
        return Vgg16Imagenet(channels, classes, width)
    if architecture == "small_cnn":
        return SmallCnn(channels, classes, width, side)
    if architecture == "linear":
        return Linear(channels, classes, side)
    return Tiny(channels, classes, width, architecture == "tinybn")


# architecture, width, channels, side of the image, classes, images
CASES = [
    ("resnet8", 1.0, 3, 32, 5, 2),
    ("resnet18", 1.0, 3, 32, 10, 2),
    ("resnet18", 0.25, 1, 20, 3, 2),
    ("resnet18_imagenet", 1.0, 3, 96, 10, 2),
    ("resnet18_imagenet", 0.25, 3, 224, 4, 1),
    ("resnet50_imagenet", 1.0, 3, 64, 10, 2),
    ("vgg16_bn", 1.0, 3, 32, 10, 2),
    ("vgg16_bn_imagenet", 0.25, 3, 96, 10, 2),
    ("vgg16_bn_imagenet", 0.125, 3, 224, 7, 1),
    ("vgg16_bn_imagenet", 0.125, 3, 320, 7, 1),
    ("small_cnn", 1.0, 1, 28, 10, 2),
    ("linear", 1.0, 3, 32, 5, 2),
    ("tiny", 1.0, 3, 8, 5, 2),
    ("tinybn", 2.0, 3, 8, 2, 2),
]


def main():
    torch.set_default_dtype(torch.float64)
    cases = []
    for architecture, width, channels, side, classes, batch in CASES:
        mean = [0.4 + 0.1 * c for c in range(channels)]
        std = [0.2 + 0.05 * c for c in range(channels)]
        network = build(architecture, width, channels, side, classes).eval()
        with torch.no_grad():
            fill(network)
            logits = Normalised(network, mean, std)(images(batch, channels, side, side))
        names = {name: list(t.shape) for name, t in network.state_dict().items()
                 if not name.endswith("num_batches_tracked")}
        cases.append({"architecture": architecture, "width": width, "channels": channels,
                      "side": side, "classes": classes, "batch": batch, "mean": mean, "std": std,
                      "parameters": sum(p.numel() for p in network.parameters()),
                      "tensors": len(names),
                      "logits": {"shape": list(logits.shape), "dtype": "float64",
                                 "data": logits.flatten().tolist()}})
        print(architecture, width, side, logits.abs().max().item(), logits.std().item(),
              (logits[0] - logits[-1]).abs().max().item())
    text = json.dumps({"formula": __doc__.split("\n\n", 1)[1].split("\n\nUsage")[0],
                       "cases": cases}, indent=1)
    path = pathlib.Path(__file__).parents[2] / "tests/golden/networks.json"
    path.write_text(text + "\n")


if __name__ == "__main__":
    main()
