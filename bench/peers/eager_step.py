"""A CMAT training step written carefully in eager PyTorch: the yardstick of `cmat bench step`.

The algorithm and the network are the same: PGD on the effective weights in eval mode with the
gradient of the images only, masks multiplied in once a step, one backward pass for the weights,
masked SGD for the task's own weights, Adam for its picks, moving averages of both. What it lacks is
what CMAT adds: one fused pass for the bank, a layout and an allocator chosen for the machine.

    eager_step.py [--channels-last] [--keep-memory] [--batch N] [--attack-steps N] [--threads N] ...

Prints the keys of `cmat bench step --json`.
"""

import argparse
import ctypes
import json
import os
import statistics
import time

import torch
from torch import nn

STAGES = [(64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)]
EPS, MOMENTUM, DECAY, THRESHOLD, AVERAGE = 8 / 255, 0.9, 5e-4, 0.005, 0.99
BETA1, BETA2, ADAM_EPS, PICK_LR, LR = 0.9, 0.999, 1e-8, 5e-4, 0.01


def keep_memory():
    """What apps/cmat/main.cpp tells glibc: do not hand big blocks back to the kernel."""
    libc = ctypes.CDLL(None)
    m_trim_threshold, m_top_pad, m_mmap_threshold = -1, -2, -3
    libc.mallopt(m_mmap_threshold, 1 << 30)
    libc.mallopt(m_trim_threshold, 2000 << 20)
    libc.mallopt(m_top_pad, 64 << 20)


class Normalize(nn.Module):
    def forward(self, x):
        return (x - 0.5) / 0.25


def vgg16_bn(classes):
    layers, channels = [Normalize()], 3
    for stage in STAGES:
        for out in stage:
            layers += [nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.BatchNorm2d(out),
                       nn.ReLU(inplace=True)]
            channels = out
        layers.append(nn.MaxPool2d(2))
    layers += [nn.Flatten(), nn.Linear(512, 4096), nn.ReLU(inplace=True), nn.Linear(4096, 4096),
               nn.ReLU(inplace=True), nn.Linear(4096, classes)]
    network = nn.Sequential(*layers)
    for m in network:
        if isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight, mode="fan_out")
        elif isinstance(m, nn.Linear):
            nn.init.normal_(m.weight, std=0.01)
            nn.init.zeros_(m.bias)
    return network


class Shared:
    """A shared weight: task 1 owns the larger half, task 2 the rest, and picks among the former.

    The network's own parameter holds the effective weights, as a leaf.
    """

    def __init__(self, parameter):
        self.effective = parameter
        size = parameter.detach().abs().flatten()
        smaller = parameter.detach().abs() <= size.kthvalue(size.numel() // 2).values
        self.own, self.older = smaller, ~smaller
        self.values = parameter.detach().clone().masked_fill_(smaller, 0)
        self.momentum = torch.zeros_like(self.values)
        self.scores = torch.full_like(self.values, 0.01)
        self.m, self.v = torch.zeros_like(self.values), torch.zeros_like(self.values)
        self.average_values, self.average_scores = self.values.clone(), self.scores.clone()
        self.compose()

    def compose(self):
        """where(own, W, where(older and picked, W, 0))"""
        used = self.own | (self.older & (self.scores > THRESHOLD))
        self.effective.copy_(torch.where(used, self.values, 0.0))

    def update(self, gradient, step):
        pick_gradient = torch.where(self.older, gradient * self.values, 0.0)
        own_gradient = torch.where(self.own, gradient.add(self.values, alpha=DECAY), 0.0)
        self.momentum.mul_(MOMENTUM).add_(own_gradient)
        self.values.sub_(own_gradient.add_(self.momentum, alpha=MOMENTUM), alpha=LR)
        self.m.lerp_(pick_gradient, 1 - BETA1)
        self.v.mul_(BETA2).addcmul_(pick_gradient, pick_gradient, value=1 - BETA2)
        denominator = (self.v.sqrt() / (1 - BETA2**step) ** 0.5).add_(ADAM_EPS)
        self.scores.addcdiv_(self.m, denominator, value=-PICK_LR / (1 - BETA1**step))
        self.average_values.lerp_(self.values, 1 - AVERAGE)
        self.average_scores.lerp_(self.scores, 1 - AVERAGE)


def attack(network, images, labels, steps):
    """PGD under Linf; autograd is asked for the gradient of the images alone."""
    network.eval()
    parameters = list(network.parameters())
    for p in parameters:
        p.requires_grad_(False)
    step = 2.5 * EPS / steps
    low, high = (images - EPS).clamp_(0, 1), (images + EPS).clamp_(0, 1)
    x = (images + torch.empty_like(images).uniform_(-EPS, EPS)).clamp_(0, 1)
    for _ in range(steps):
        x.requires_grad_(True)
        loss = nn.functional.cross_entropy(network(x), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, x)
        x = torch.clamp(x.detach() + step * gradient.sign(), low, high)
    for p in parameters:
        p.requires_grad_(True)
    return x


class Trainer:
    def __init__(self, options):
        self.options = options
        self.network = vgg16_bn(options.classes)
        if options.channels_last:
            self.network.to(memory_format=torch.channels_last)
        modules = list(self.network)
        weights = [m.weight for m in modules[:-1] if isinstance(m, (nn.Conv2d, nn.Linear))]
        with torch.no_grad():
            self.shared = [Shared(w) for w in weights]
        known = {id(w) for w in weights}
        self.own = [p for p in self.network.parameters() if id(p) not in known]
        self.momentum = [torch.zeros_like(p) for p in self.own]
        self.buffers = [b for b in self.network.buffers() if b.is_floating_point()]
        self.averages = [t.detach().clone() for t in self.own + self.buffers]
        self.images = torch.rand(options.batch, 3, 32, 32)
        if options.channels_last:
            self.images = self.images.contiguous(memory_format=torch.channels_last)
        self.labels = torch.randint(options.classes, (options.batch,))
        self.steps = 0

    def step(self):
        begin = time.perf_counter()
        adversarial = attack(self.network, self.images, self.labels, self.options.attack_steps)
        attacked = time.perf_counter()
        self.network.train()
        loss = nn.functional.cross_entropy(self.network(adversarial), self.labels)
        leaves = [s.effective for s in self.shared] + self.own
        gradients = torch.autograd.grad(loss, leaves)
        loss.item()
        trained = time.perf_counter()
        self.steps += 1
        with torch.no_grad():
            for shared, gradient in zip(self.shared, gradients):
                shared.update(gradient, self.steps)
                shared.compose()
            for p, v, g in zip(self.own, self.momentum, gradients[len(self.shared):]):
                g = g.add(p, alpha=DECAY) if p.dim() > 1 else g
                v.mul_(MOMENTUM).add_(g)
                p.sub_(g.add(v, alpha=MOMENTUM), alpha=LR)
            for average, t in zip(self.averages, self.own + self.buffers):
                average.lerp_(t, 1 - AVERAGE)
        end = time.perf_counter()
        return end - begin, attacked - begin, trained - attacked, end - trained


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--attack-steps", type=int, default=10)
    parser.add_argument("--classes", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--channels-last", action="store_true", help="layout as CMAT's")
    parser.add_argument("--keep-memory", action="store_true", help="allocator as CMAT's")
    options = parser.parse_args()
    if options.keep_memory:
        keep_memory()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    trainer = Trainer(options)
    trainer.step()
    whole, attacks, weights, banks = zip(*(trainer.step() for _ in range(options.repeats)))
    seconds = statistics.median(whole)
    print(json.dumps({
        "bench": "eager", "network": "vgg16_bn", "batch": options.batch, "task": 2,
        "attack_steps": options.attack_steps, "classes": options.classes,
        "threads": torch.get_num_threads(), "repeats": options.repeats,
        "channels_last": options.channels_last, "keep_memory": options.keep_memory,
        "seconds_per_step": seconds, "images_per_second": options.batch / seconds,
        "attack_seconds": statistics.median(attacks),
        "weight_seconds": statistics.median(weights), "bank_seconds": statistics.median(banks),
        "fastest_seconds": min(whole), "slowest_seconds": max(whole)}, indent=1))


if __name__ == "__main__":
    main()
