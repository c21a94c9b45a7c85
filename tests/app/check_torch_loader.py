"""Compares tools/cmat_torch.py with CMAT, and with a slow reading of its file format.

Usage: check_torch_loader.py TOOLS FOLDER RUN...
Each RUN holds model.safetensors, which has the logits of each task's probe images, and
probes.safetensors, which has the images (task1, task2, ...: bytes of the shape [n, channels, height,
width]). FOLDER is for files of the test.
"""

import json
import pathlib
import sys

sys.path.insert(0, sys.argv[1])
import cmat_torch  # noqa: E402
import convert_pth  # noqa: E402
import torch  # noqa: E402


def check_run(run):
    model = pathlib.Path(run) / "model.safetensors"
    stored = cmat_torch.TensorFile(model)
    probes = cmat_torch.TensorFile(pathlib.Path(run) / "probes.safetensors")
    count = cmat_torch.tasks(model)
    assert count >= 2, f"{run} has {count} tasks"
    for task in range(1, count + 1):
        images = probes[f"task{task}"].float() / 255
        expected = stored[f"certificate/task{task}/logits"]
        network = cmat_torch.load(model, task)
        assert isinstance(network, torch.nn.Module) and not network.training
        with torch.no_grad():
            logits = network(images)
            # What is compared must depend on the images and on the task.
            assert (logits - logits[:1]).abs().max() > 1e-3, f"{run}: task {task} ignores its images"
            other = cmat_torch.load(model, task % count + 1)(images)
            assert (other - logits).abs().max() > 1e-3, f"{run}: tasks are all the same"
        difference = (logits - expected).abs().max().item()
        limit = 1e-5 * max(1, expected.abs().max().item())
        assert logits.shape == expected.shape and difference <= limit, f"{run}: {task}: {difference}"
        print(run, task, difference)
    for wrong in (0, count + 1):
        try:
            cmat_torch.load(model, wrong)
        except ValueError:
            continue
        raise AssertionError(f"task {wrong} was loaded")


def check_corner(folder):
    """A task narrower than the bank uses the leading corner, and its picks run over that alone."""
    bank_shape, corner, task = (5, 4), (3, 2), 3
    generator = torch.Generator().manual_seed(1)
    values = torch.rand(bank_shape, generator=generator)
    owners = torch.randint(0, 5, bank_shape, generator=generator, dtype=torch.uint8)
    owners[:2] = torch.tensor([[1, 2, 3, 0], [2, 1, 4, 3]], dtype=torch.uint8)
    picked = [True, False, False, True, True, False]
    packed = sum(bit << i for i, bit in enumerate(picked))
    expected, next_bit = torch.zeros(corner), 0
    for i in range(corner[0]):
        for j in range(corner[1]):
            owner = int(owners[i, j])
            if owner == task:
                expected[i, j] = values[i, j]
            elif 0 < owner < task:
                if picked[next_bit]:
                    expected[i, j] = values[i, j]
                next_bit += 1
    assert next_bit >= 4
    layers = [{"kind": "global_avg_pool", "inputs": [0]},
              {"kind": "linear", "name": "body", "inputs": [1], "in": 2, "out": 3, "bias": False},
              {"kind": "linear", "name": "head", "inputs": [2], "in": 3, "out": 9, "bias": True}]
    networks = {"sharing": "owned", "tasks": [1, 1, 0],
                "descriptions": [{"channels": 2, "layers": layers}, {}]}
    path = str(folder / "corner.safetensors")
    convert_pth.write_safetensors(path, {
        "model/state": torch.tensor([3, 0, 0, 0, 1]),
        "model/bank0/body.weight/values": values, "model/bank0/body.weight/owners": owners,
        "model/task3/body.weight/picks": torch.tensor([packed], dtype=torch.uint8),
        "model/task3/head.weight": torch.ones(2, 3), "model/task3/head.bias": torch.zeros(2),
        "model/task3/classes": torch.tensor(2)}, {"networks": json.dumps(networks)})
    network = cmat_torch.load(path, task)
    assert torch.equal(network.state_dict()["body.weight"], expected)
    assert network(torch.rand(4, 2, 8, 8)).shape == (4, 2)


torch.set_num_threads(1)
check_corner(pathlib.Path(sys.argv[2]))
for name in sys.argv[3:]:
    check_run(name)
