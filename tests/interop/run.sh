#!/bin/sh
# Do the programs that people carry the results to open our files, and do they compute the same? Needs the network once.
#
#     tests/interop/run.sh PROGRAM FIXTURES                      e.g. build/gemmaiku tests/fixtures: everything
#     tests/interop/run.sh PROGRAM FIXTURES [interop.py options]      --models nano,FILE.gguf --markdown out.md: the exports alone
#
# INTEROP_VENV: the folder of the Python environment (default ./interop-venv), made and filled when missing: PyTorch without its GPU libraries,
# transformers, PEFT, mlx, mlx-lm, llama-cpp-python (built from its source package: needs a C++ compiler and several minutes), gguf.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
venv=${INTEROP_VENV:-interop-venv}
if [ ! -x "$venv/bin/python" ]; then
    python3 -m venv "$venv"
    pip="$venv/bin/pip install -q"
    $pip --no-deps torch peft accelerate
    $pip filelock fsspec jinja2 networkx sympy typing-extensions numpy transformers safetensors psutil pyyaml tqdm sentencepiece protobuf gguf "mlx[cpu]" mlx-lm
    $pip llama-cpp-python
fi
"$venv/bin/python" "$here/interop.py" "$@"
"$venv/bin/python" "$here/adapters.py" "$1" "$2"
"$venv/bin/python" "$here/mlx_lora.py" "$1" "$2"
python=$venv/bin/python failed=0
"$python" "$here/interop.py" "$@" || failed=1
[ $# -eq 2 ] || exit $failed
for script in adapters mlx_lora ollama; do
    echo "== $script"
    "$python" "$here/$script.py" "$1" "$2" || failed=1
done
exit $failed
