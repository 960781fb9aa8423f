#!/usr/bin/env python3
"""Times the peers of our kernels on this GPU: cuBLAS and torch's attention backends through torch, and Triton.

    peers.py --json FILE [--seconds S]

Writes `{"copy": .., "times": {case: {peer: {"us": ..}}}}` after each case. Cases have the names of `cases.py`. Inputs are random;
what must not be found in the caches rotates among several sets. Launches are captured in a graph where the peer allows it, so that
Python's own time does not show.
"""

import argparse
import itertools
import json
import statistics
import time
from pathlib import Path

import cases
import torch
import triton_kernels as kernels
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

DEVICE = "cuda"


def randn(*shape):
    return torch.randn(*shape, device=DEVICE, dtype=torch.bfloat16)


def elapsed_us(run, n: int) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(n):
        run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) * 1000 / n


def time_us(run, seconds: float = 0.4) -> dict:
    """The median time of one call, in microseconds."""
    for _ in range(3):
        run()
    torch.cuda.synchronize()
    once = elapsed_us(run, 3)
    n = max(1, min(int(3000 / max(once, 0.1)), 200))
    by_graph = True
    try:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for _ in range(n):
                run()
    except RuntimeError:
        by_graph = False
        torch.cuda.synchronize()
    samples, ends = [], time.monotonic() + seconds
    while not samples or (len(samples) < 15 and time.monotonic() < ends):
        samples.append(elapsed_us(graph.replay, 1) / n if by_graph else elapsed_us(run, n))
    return {"us": statistics.median(samples), "best_us": min(samples), "samples": len(samples), "graph": by_graph}


def distance(found, truth) -> float:
    """Relative, by the norm of all elements; NaN counts as infinite."""
    apart = (found.float() - truth.float()).norm() / truth.float().norm()
    return apart.item() if torch.isfinite(apart) else float("inf")


def best_of(attempts: dict, out, truth) -> dict:
    """The fastest of several configurations that compute what they should; what fails is named."""
    timed, failed = {}, {}
    for name, run in attempts.items():
        try:
            out.fill_(float("nan"))
            run()
            apart = distance(out, truth)
            if apart > 1e-2:
                raise ValueError(f"its result is off by {apart:.3g}")
            timed[name] = time_us(run, 0.15)
        except Exception as error:  # Triton and the driver raise whatever they like.
            failed[name] = f"{type(error).__name__}: {error}"[:300]
    if not timed:
        return {"error": failed}
    winner = min(timed, key=lambda name: timed[name]["us"])
    return timed[winner] | {"config": winner} | ({"failed": failed} if failed else {})


def copy_bandwidth() -> dict:
    source = torch.empty(1 << 30, device=DEVICE, dtype=torch.uint8).random_()
    target = torch.empty_like(source)
    found = time_us(lambda: target.copy_(source))
    return found | {"gbytes_per_s": 2 * source.numel() / found["us"] / 1e3}


def matmul(n: int) -> dict:
    x, w, y = randn(n, n), randn(n, n), torch.empty(n, n, device=DEVICE, dtype=torch.bfloat16)
    found = {"cublas": lambda: time_us(lambda: torch.mm(x, w.t(), out=y))}

    def by_pointers():
        attempts = {}
        for constants, options in itertools.chain(*(v for k, v in kernels.CONFIGS[90].items() if k.startswith("matmul"))):
            grid = (-(-n // constants["BM"]) * -(-n // constants["BN"]),)
            attempts[f"{constants} {options}"] = lambda c=constants, o=options, g=grid: kernels.matmul[g](
                x, w, y, n, n, n, **c, **o
            )
        return best_of(attempts, y, x @ w.t())

    def by_descriptors():
        from triton.tools.tensor_descriptor import TensorDescriptor

        sms, attempts = torch.cuda.get_device_properties(0).multi_processor_count, {}
        for constants, options in itertools.chain(*(v for k, v in kernels.CONFIGS[90].items() if k.startswith("matmul"))):
            bm, bn, bk = (constants[name] for name in ("BM", "BN", "BK"))
            maps = [
                TensorDescriptor.from_tensor(t, [rows, columns])
                for t, rows, columns in ((x, bm, bk), (w, bn, bk), (y, bm, bn))
            ]
            grid = (min(sms, -(-n // bm) * -(-n // bn)),)
            attempts[f"{constants} {options}"] = lambda m=maps, c=constants, o=options, g=grid: kernels.matmul_tma[g](
                *m, n, n, n, **c, SMS=g[0], **o
            )
        return best_of(attempts, y, x @ w.t())

    return found | {"triton": by_pointers, "triton tma": by_descriptors}


def attention(size: int, heads: int, is_causal: bool, length: int = 8192) -> dict:
    q, k, v = (randn(1, heads, length, size) for _ in range(3))

    def through(backend):
        def run():
            with sdpa_kernel(backend):
                return F.scaled_dot_product_attention(q, k, v, is_causal=is_causal)

        return time_us(run)

    # Triton's in the layout of ours: heads between tokens and elements.
    q2, k2, v2, o2 = (randn(length, heads, size) for _ in range(4))

    def in_triton():
        attempts = {}
        for constants, options in kernels.CONFIGS[90][f"attention_d{size}"]:
            constants = constants | {"HEADS": heads, "CAUSAL": is_causal}
            grid = (-(-length // constants["BM"]), heads)
            attempts[f"{constants} {options}"] = lambda c=constants, o=options, g=grid: kernels.attention[g](
                q2, k2, v2, o2, size**-0.5, length, length, **c, **o
            )
        truth = F.scaled_dot_product_attention(
            *(t.transpose(0, 1)[None] for t in (q2, k2, v2)), is_causal=is_causal
        )
        return best_of(attempts, o2, truth[0].transpose(0, 1))

    return {
        "cudnn": lambda: through(SDPBackend.CUDNN_ATTENTION),
        "flash": lambda: through(SDPBackend.FLASH_ATTENTION),
        "triton": in_triton,
    }


def matvec(rows: int, columns: int, copies: int) -> dict:
    weights = itertools.cycle([randn(rows, columns) for _ in range(copies)])
    x = randn(1, columns)
    return {"torch": lambda: time_us(lambda: F.linear(x, next(weights)))}


def rowwise(kernel: str, rows: int, columns: int, copies: int) -> dict:
    inputs = itertools.cycle([randn(rows, columns) for _ in range(copies)])
    weight, out = randn(columns), torch.empty(rows, columns, device=DEVICE, dtype=torch.bfloat16)
    options, first = {"num_warps": 8 if columns > 2048 else 4}, next(inputs)
    if kernel == "rms_norm":
        run = lambda x: kernels.rms_norm[(rows,)](x, weight, out, columns, 1e-6, BLOCK=columns, **options)  # noqa: E731
        torch_run = lambda x: F.rms_norm(x, (columns,), weight, 1e-6)  # noqa: E731
    else:
        run = lambda x: kernels.softmax[(rows,)](x, out, columns, BLOCK=columns, **options)  # noqa: E731
        torch_run = lambda x: torch.softmax(x, -1)  # noqa: E731

    def in_triton():
        run(first)
        apart = distance(out, torch_run(first))
        if apart > 1e-2:
            raise ValueError(f"its result is off by {apart:.3g}")
        return time_us(lambda: run(next(inputs)))

    return {"torch": lambda: time_us(lambda: torch_run(next(inputs))), "triton": in_triton}


def peers_of(case: dict) -> dict:
    """The peers of one of our cases, by name; nothing for a case that has none."""
    kernel, shape = case["kernel"], case["shape"]
    if kernel == "matmul":
        return matmul(shape[0])
    if kernel == "attention":
        return attention(shape[4], shape[2], case["options"]["mask"] == "causal", shape[0])
    if kernel == "matvec":
        return matvec(shape[1], shape[2], case.get("copies", 1))
    if kernel in ("rms_norm", "softmax"):
        return rowwise(kernel, shape[0], shape[1], case.get("copies", 1))
    return {}


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=200.0)
    args = parser.parse_args()
    ends = time.monotonic() + args.seconds
    properties = torch.cuda.get_device_properties(0)
    report = {"gpu": properties.name, "multiprocessors": properties.multi_processor_count, "torch": torch.__version__}
    report |= {"triton": kernels.triton.__version__, "copy": copy_bandwidth(), "times": {}}

    def write():
        part = args.json.with_suffix(".part")
        part.write_text(json.dumps(report, indent=1) + "\n")
        part.replace(args.json)

    write()
    for case in cases.ours(True):
        times = report["times"][case["name"]] = {}
        for peer, measure in peers_of(case).items():
            if time.monotonic() > ends:
                times[peer] = {"error": "not reached"}
                continue
            try:
                times[peer] = measure()
            except Exception as error:  # A backend that does not take the problem is an answer.
                times[peer] = {"error": f"{type(error).__name__}: {error}"[:500]}
            write()
        torch.cuda.empty_cache()
        line = ", ".join(f"{peer} {row['us']:.1f} us" if "us" in row else f"{peer} failed" for peer, row in times.items())
        print(f"{case['name']}: {line}", flush=True)
    write()


if __name__ == "__main__":
    main()
