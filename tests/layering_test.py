"""Checks that no folder of src/cmat includes one above it, and that libtorch stays where it belongs.

    layering_test.py SOURCE_DIR
"""

import pathlib
import re
import sys

# Each folder may include itself and those before it.
ORDER = ["core", "data", "nn", "attack", "defense", "eval", "train", "continual", "bench", "report", "compare"]
# Stricter than the order: the reports read what is on disk, and nothing else.
ONLY = {"report": {"core", "report"}, "compare": {"core", "report", "compare"}}
# Here numbers and files are enough; nothing is to be compiled against libtorch.
WITHOUT_TORCH = {"core", "data", "report", "compare", "apps"}

CMAT_INCLUDE = re.compile(r'^\s*#\s*include\s*["<]cmat/([^/">]+)/')
TORCH_INCLUDE = re.compile(r'^\s*#\s*include\s*["<](torch|ATen|c10)/')


def allowed(folder):
    """The folders that `folder` may include; the program in apps/ may include all."""
    if folder == "apps":
        return set(ORDER)
    return ONLY.get(folder, set(ORDER[: ORDER.index(folder) + 1]))


def violations_in(path, folder):
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        used = CMAT_INCLUDE.match(line)
        if used and used.group(1) not in allowed(folder):
            yield f"{path}:{number}: {folder} must not include {used.group(1)}"
        if folder in WITHOUT_TORCH and TORCH_INCLUDE.match(line):
            yield f"{path}:{number}: {folder} must not include libtorch"


def sources(root):
    """Every C++ file with the name of its layer."""
    for path in sorted(root.glob("src/cmat/**/*")) + sorted(root.glob("apps/**/*")):
        if path.suffix not in {".h", ".cpp", ".cu", ".cuh"}:
            continue
        parts = path.relative_to(root).parts
        yield path, "apps" if parts[0] == "apps" else parts[2]


def self_test():
    assert "data" in allowed("nn") and "nn" not in allowed("data")
    assert allowed("report") == {"core", "report"}
    assert CMAT_INCLUDE.match('#include "cmat/train/model.h"').group(1) == "train"
    assert TORCH_INCLUDE.match("#include <ATen/Functions.h>")


def main():
    self_test()
    root = pathlib.Path(sys.argv[1])
    found, files = [], 0
    for path, folder in sources(root):
        files += 1
        if folder != "apps" and folder not in ORDER:
            found.append(f"{path}: {folder} is not in the order of the layers")
            continue
        found.extend(violations_in(path, folder))
    print(*found, sep="\n")
    print(f"{files} files, {len(found)} violations")
    return 1 if found or files == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
