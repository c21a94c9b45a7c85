# What every script begins with; sourced, not run. Goes to the repository's root.
# Paths that the caller gave are meant from where the caller stands.
[ -z "${LIBTORCH:-}" ] || { LIBTORCH=$(realpath "$LIBTORCH"); export LIBTORCH; }
[ -z "${Torch_DIR:-}" ] || { Torch_DIR=$(realpath "$Torch_DIR"); export Torch_DIR; }
cd "$(dirname "${BASH_SOURCE[0]}")/.."
say() { printf '== %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }
# Cores for builds and tests. nproc alone would obey OMP_NUM_THREADS, which limits the threads of one program.
cores() { env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc; }
