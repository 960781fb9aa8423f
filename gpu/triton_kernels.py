#!/usr/bin/env python3
"""Matrix product, attention, softmax and RMS norm in Triton: peers for our kernels, on a GPU and in machine code.

The kernels are those that Triton's tutorials teach, written anew in our layouts: weights `[N, K]`, heads between tokens and
elements. `CONFIGS` are the tile shapes and pipeline depths that are tried. Run as a program it compiles them without a GPU:

    triton_kernels.py --arch 90 --out DIR      # DIR/<name>.cubin, and one line of JSON on standard output

It imports neither torch nor a driver, so that a machine without a GPU can compile.
"""

import argparse
import json
from pathlib import Path

import triton
import triton.language as tl


@triton.jit
def _grouped(program, rows, columns, GROUP: tl.constexpr):
    """Tile of a program: GROUP rows of tiles at a time, so that neighbours share operands in the cache."""
    band = program // (GROUP * columns)
    height = min(rows - band * GROUP, GROUP)
    inside = program % (GROUP * columns)
    return band * GROUP + inside % height, inside // height


@triton.jit
def matmul(x, w, y, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, GROUP: tl.constexpr):
    """y [M, N] = x [M, K] w [N, K]^T, by pointers."""
    i, j = _grouped(tl.program_id(0), tl.cdiv(M, BM), tl.cdiv(N, BN), GROUP)
    # Rows past the end read the first ones: what they give is not stored.
    m, n, k = (i * BM + tl.arange(0, BM)) % M, (j * BN + tl.arange(0, BN)) % N, tl.arange(0, BK)
    xs, ws = x + m[:, None] * K + k[None, :], w + n[None, :] * K + k[:, None]
    acc = tl.zeros((BM, BN), tl.float32)
    for at in range(0, K, BK):
        inside = k < K - at
        a = tl.load(xs, mask=inside[None, :], other=0.0)
        b = tl.load(ws, mask=inside[:, None], other=0.0)
        acc = tl.dot(a, b, acc)
        xs += BK
        ws += BK
    m, n = i * BM + tl.arange(0, BM), j * BN + tl.arange(0, BN)
    tl.store(y + m[:, None] * N + n[None, :], acc.to(y.dtype.element_ty), mask=(m[:, None] < M) & (n[None, :] < N))


@triton.jit
def matmul_tma(x, w, y, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, GROUP: tl.constexpr, SMS: tl.constexpr):
    """The same by tensor descriptors, one program per multiprocessor."""
    rows, columns = tl.cdiv(M, BM), tl.cdiv(N, BN)
    for tile in tl.range(tl.program_id(0), rows * columns, SMS):
        i, j = _grouped(tile, rows, columns, GROUP)
        acc = tl.zeros((BM, BN), tl.float32)
        for at in range(0, K, BK):
            acc = tl.dot(x.load([i * BM, at]), w.load([j * BN, at]).T, acc)
        y.store([i * BM, j * BN], acc.to(y.dtype))


@triton.jit
def _fold(acc, top, total, q, ks, vs, pitch, first, last, n_keys, rows, MASKED: tl.constexpr, CAUSAL: tl.constexpr, BN: tl.constexpr):
    """Online softmax over the keys first..last."""
    for at in range(first, last, BN):
        keys = at + tl.arange(0, BN)
        offset = tl.cast(at, tl.int64) * pitch
        if MASKED:
            k = tl.load(ks + offset, mask=keys[None, :] < n_keys, other=0.0)
        else:
            k = tl.load(ks + offset)
        scores = tl.dot(q, k)
        if MASKED:
            seen = keys[None, :] < n_keys
            if CAUSAL:
                seen = seen & (keys[None, :] <= rows[:, None])
            scores = tl.where(seen, scores, float("-inf"))
        now = tl.maximum(top, tl.max(scores, 1))
        weights = tl.math.exp2(scores - now[:, None])
        shrink = tl.math.exp2(top - now)
        total = total * shrink + tl.sum(weights, 1)
        acc = acc * shrink[:, None]
        if MASKED:
            v = tl.load(vs + offset, mask=keys[:, None] < n_keys, other=0.0)
        else:
            v = tl.load(vs + offset)
        acc = tl.dot(weights.to(v.dtype), v, acc)
        top = now
    return acc, top, total


@triton.jit
def attention(
    q, k, v, o, scale, n_queries, n_keys,
    HEADS: tl.constexpr, GROUP: tl.constexpr, D: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, CAUSAL: tl.constexpr,
):  # fmt: skip
    """o = softmax(scale q k^T) v; q and o [queries, HEADS * GROUP, D], k and v [keys, HEADS, D]; the last query sees every key."""
    block, head = tl.num_programs(0) - 1 - tl.program_id(0), tl.program_id(1)
    pitch_q: tl.constexpr = HEADS * GROUP * D
    pitch_k: tl.constexpr = HEADS * D
    m, d, n = block * BM + tl.arange(0, BM), tl.arange(0, D), tl.arange(0, BN)
    at = m.to(tl.int64)[:, None] * pitch_q + head * D + d[None, :]
    query = tl.load(q + at, mask=m[:, None] < n_queries, other=0.0)
    # Powers of two instead of e: the factor goes into the queries' scale.
    query = (query * (scale * 1.4426950408889634)).to(q.dtype.element_ty)
    start = head // GROUP * D
    ks = k + start + n[None, :] * pitch_k + d[:, None]
    vs = v + start + n[:, None] * pitch_k + d[None, :]
    acc = tl.zeros((BM, D), tl.float32)
    top = tl.full((BM,), float("-inf"), tl.float32)
    total = tl.zeros((BM,), tl.float32)
    rows = m + (n_keys - n_queries)
    end = n_keys
    whole = n_keys // BN * BN
    if CAUSAL:
        first = block * BM + n_keys - n_queries
        end = min(first + BM, n_keys)
        whole = min(first + 1, n_keys) // BN * BN
    acc, top, total = _fold(acc, top, total, query, ks, vs, pitch_k, 0, whole, n_keys, rows, False, CAUSAL, BN)
    acc, top, total = _fold(acc, top, total, query, ks, vs, pitch_k, whole, end, n_keys, rows, True, CAUSAL, BN)
    tl.store(o + at, (acc / total[:, None]).to(o.dtype.element_ty), mask=m[:, None] < n_queries)


@triton.jit
def rms_norm(x, weight, y, length, epsilon, BLOCK: tl.constexpr):
    """y = x / sqrt(mean(x^2) + epsilon) * weight, a row per program."""
    row, at = tl.program_id(0).to(tl.int64) * length, tl.arange(0, BLOCK)
    inside = at < length
    value = tl.load(x + row + at, mask=inside, other=0.0).to(tl.float32)
    factor = tl.math.rsqrt(tl.sum(value * value) / length + epsilon)
    scaled = value * factor * tl.load(weight + at, mask=inside, other=0.0).to(tl.float32)
    tl.store(y + row + at, scaled.to(y.dtype.element_ty), mask=inside)


@triton.jit
def softmax(x, y, length, BLOCK: tl.constexpr):
    """Softmax of a row per program."""
    row, at = tl.program_id(0).to(tl.int64) * length, tl.arange(0, BLOCK)
    inside = at < length
    value = tl.load(x + row + at, mask=inside, other=float("-inf")).to(tl.float32)
    weights = tl.exp(value - tl.max(value))
    tl.store(y + row + at, (weights / tl.sum(weights)).to(y.dtype.element_ty), mask=inside)


def tiles(bm, bn, bk, warps, stages):
    return {"BM": bm, "BN": bn, "BK": bk, "GROUP": 8}, {"num_warps": warps, "num_stages": stages}


def blocks(d, bm, bn, warps, stages, causal=False):
    shape = {"HEADS": 8, "GROUP": 1, "D": d, "BM": bm, "BN": bn, "CAUSAL": causal}
    return shape, {"num_warps": warps, "num_stages": stages}


# Constants and compiler options that are tried, by kernel and the generation of the GPU.
CONFIGS = {
    90: {
        "matmul_128x256": [tiles(128, 256, 64, 8, 3), tiles(128, 256, 64, 8, 4)],
        "matmul_128x128": [tiles(128, 128, 64, 8, 4), tiles(128, 128, 64, 4, 4)],
        "attention_d64": [blocks(64, 128, 64, 4, 3), blocks(64, 128, 128, 8, 3), blocks(64, 128, 128, 4, 2)],
        "attention_d128": [blocks(128, 128, 64, 8, 3), blocks(128, 128, 128, 8, 2), blocks(128, 128, 64, 4, 2)],
    },
    80: {
        "matmul_128x128": [tiles(128, 128, 32, 4, 4), tiles(128, 128, 32, 8, 4), tiles(128, 128, 64, 4, 3), tiles(128, 128, 64, 8, 3)],
        "attention_d64": [blocks(64, 128, 64, 4, 3), blocks(64, 64, 64, 4, 3), blocks(64, 128, 32, 4, 3)],
        "attention_d128": [blocks(128, 128, 32, 4, 3), blocks(128, 64, 64, 4, 3), blocks(128, 128, 64, 8, 3)],
    },
}  # fmt: skip

POINTERS = {
    "matmul": ({"x": "*bf16", "w": "*bf16", "y": "*bf16", "M": "i32", "N": "i32", "K": "i32"}, matmul),
    "attention": (
        {"q": "*bf16", "k": "*bf16", "v": "*bf16", "o": "*bf16", "scale": "fp32", "n_queries": "i32", "n_keys": "i32"},
        attention,
    ),
}


def compiled(arch: int, kernel, arguments: dict, constants: dict, options: dict):
    """A kernel for a GPU that need not be there; numbers are divisible by 16, as whole buffers and round extents are."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    signature = arguments | {constant: "constexpr" for constant in constants}
    is_plain = [t.startswith("*") or t == "i32" for t in arguments.values()]
    divisible = {(i,): [["tt.divisibility", 16]] for i, plain in enumerate(is_plain) if plain}
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=divisible)
    return triton.compile(source, target=GPUTarget("cuda", arch, 32), options=options)


def by_descriptors(constants: dict) -> dict:
    """The arguments of `matmul_tma` for these tiles."""
    bm, bn, bk = (constants[name] for name in ("BM", "BN", "BK"))
    shapes = {"x": (bm, bk), "w": (bn, bk), "y": (bm, bn)}
    descriptors = {name: f"tensordesc<bf16[{rows}, {columns}]>" for name, (rows, columns) in shapes.items()}
    return descriptors | {"M": "i32", "N": "i32", "K": "i32"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", type=int, choices=CONFIGS, default=90)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    rows = []

    def keep(name, kind, constants, options, kernel):
        file = args.out / f"{name}.cubin"
        file.write_bytes(kernel.asm["cubin"])
        rows.append({
            "name": name, "kernel": kind, "file": str(file), "constants": constants, "options": options,
            "warps": kernel.metadata.num_warps, "shared_bytes": kernel.metadata.shared,
        })  # fmt: skip

    for kind, configs in CONFIGS[args.arch].items():
        for number, (constants, options) in enumerate(configs):
            arguments, kernel = POINTERS[kind.split("_")[0]]
            made = compiled(args.arch, kernel, arguments, constants, options)
            keep(f"{kind}_{number}", kind, constants, options, made)
            if args.arch == 90 and kind.startswith("matmul"):
                made = compiled(args.arch, matmul_tma, by_descriptors(constants), constants | {"SMS": 132}, options)
                keep(f"{kind}_tma_{number}", kind, constants, options, made)
    print(json.dumps({"triton": triton.__version__, "arch": args.arch, "kernels": rows}))


if __name__ == "__main__":
    main()
