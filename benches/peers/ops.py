#!/usr/bin/env python3
"""Single operations in PyTorch on the CPU: one JSON object, name -> best and median seconds.

Names are `<op>_<dtype>_<shape or layout>`; `nn` multiplies [M, K] by [K, N], `nt` by the transpose of [N, K].
Matrix-vector products walk through more than 256 MiB of weights, so that each one comes from memory.
"""

import argparse
import itertools
import json
import sys

import torch
from common import time_op
from torch.nn import functional as F

WEIGHTS_BYTES = 256 << 20
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


def matmuls(generator):
    n = 2048
    for name, dtype in DTYPES.items():
        a, b = (torch.randn(n, n, generator=generator).to(dtype) for _ in range(2))
        out = torch.empty(n, n, dtype=dtype)
        yield f"matmul_{name}_nn_{n}x{n}x{n}", lambda a=a, b=b, out=out: torch.mm(a, b, out=out)
        yield f"matmul_{name}_nt_{n}x{n}x{n}", lambda a=a, b=b, out=out: torch.mm(a, b.t(), out=out)


def matvecs(generator):
    for (rows, columns), (name, dtype) in itertools.product([(4096, 4096), (11008, 4096)], DTYPES.items()):
        copies = WEIGHTS_BYTES // (rows * columns * dtype.itemsize) + 1
        first = torch.randn(rows, columns, generator=generator).to(dtype)
        weights = itertools.cycle([first, *(first.clone() for _ in range(copies - 1))])
        x = torch.randn(1, columns, generator=generator).to(dtype)
        yield f"matvec_{name}_{rows}x{columns}", lambda x=x, weights=weights: F.linear(x, next(weights))


def rowwise(generator):
    for rows, columns in [(64, 1024), (4096, 1024), (4096, 4096)]:
        x = torch.randn(rows, columns, generator=generator)
        weight, out = torch.randn(columns, generator=generator), torch.empty(rows, columns)
        yield f"softmax_f32_{rows}x{columns}", lambda x=x, out=out: torch.softmax(x, -1, out=out)
        yield f"rms_norm_f32_{rows}x{columns}", lambda x=x, w=weight: F.rms_norm(x, w.shape, w, 1e-6)


def attention(generator):
    for length in (1024, 2048):
        q, k, v = (torch.randn(1, 8, length, 64, generator=generator) for _ in range(3))
        for kind, causal in (("causal", True), ("full", False)):
            name = f"attention_f32_s{length}_h8_d64_{kind}"
            yield name, lambda q=q, k=k, v=v, c=causal: F.scaled_dot_product_attention(q, k, v, is_causal=c)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=3.0, help="time spent on each operation")
    parser.add_argument("--only", default="", help="run the operations whose name contains this")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.set_grad_enabled(False)
    print(f"torch {torch.__version__}, {args.threads} threads", file=sys.stderr)
    results = {}
    for group in (matmuls, matvecs, rowwise, attention):
        for name, run in group(torch.Generator().manual_seed(0)):
            if args.only in name:
                results[name] = time_op(run, args.seconds) | {"by": f"torch {torch.__version__}"}
    print(json.dumps(results))


if __name__ == "__main__":
    main()
