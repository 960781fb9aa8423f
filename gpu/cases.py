"""What is timed, by name: our cases, and how times become ratios. Peers use the same names in `peers.py`."""

# Names of the extents of our kernels, as the registry has them.
EXTENTS = {
    "matmul": ["m", "n", "k"],
    "matvec": ["m", "n", "k"],
    "attention": ["tokens", "keys", "kv_heads", "group", "head_size"],
    "attention_decode": ["sequences", "context", "kv_heads", "group", "head_size", "splits"],
    "rms_norm": ["rows", "length"],
    "softmax": ["rows", "length"],
}

# Schedules worth trying where nothing was tuned; what a kernel does not take is reported and passed over.
MATMUL = [
    {"BM": 128, "BN": 256, "BK": 64, "warps": 8, "stages": 3},
    {"BM": 128, "BN": 256, "BK": 64, "warps": 8, "stages": 4},
    {"BM": 128, "BN": 128, "BK": 64, "warps": 8, "stages": 5},
    {"BM": 128, "BN": 128, "BK": 64, "warps": 4, "stages": 4},
]
ATTENTION = [
    {"BQ": 128, "BN": 128, "warps": 8, "stages": 2},
    {"BQ": 128, "BN": 64, "warps": 8, "stages": 2},
    {"BQ": 64, "BN": 64, "warps": 4, "stages": 2},
]


def case(name, kernel, shape, **more):
    return {"name": name, "kernel": kernel, "dtype": "bf16", "shape": shape} | more


def ours(is_gpu: bool):
    """Our cases; on a device that is no GPU, small ones that only show that everything works."""
    if not is_gpu:
        return [
            case("matmul_small", "matmul", [64, 64, 64]),
            case("attention_small", "attention", [32, 32, 1, 1, 64], options={"mask": "full"}),
            case("rms_norm_small", "rms_norm", [8, 256]),
        ]
    all_cases = [case(f"matmul_{n}", "matmul", [n, n, n], schedules=list(MATMUL), tune=True) for n in (4096, 8192)]
    for size, heads in ((128, 16), (64, 32)):
        for mask in ("causal", "full"):
            all_cases.append(
                case(
                    f"attention_d{size}_{mask}", "attention", [8192, 8192, heads, 1, size],
                    options={"mask": mask}, schedules=list(ATTENTION), tune=True,
                )  # fmt: skip
            )
    # One long sequence: 268 MB of keys and values, far more than the second-level cache.
    for splits in (16, 33, 66):
        shape = [1, 65536, 8, 4, 128, splits]
        all_cases.append(case(f"attention_decode_{splits}", "attention_decode", shape, tune=splits == 33))
    all_cases += [
        case("matvec_4096", "matvec", [1, 4096, 4096], copies=12, tune=True),
        case("matvec_14336", "matvec", [1, 14336, 4096], copies=4, tune=True),
        case("rms_norm_8192x4096", "rms_norm", [8192, 4096], copies=3, tune=True),
        case("softmax_8192x4096", "softmax", [8192, 4096], copies=3, tune=True),
    ]
    return all_cases


def key(kernel, dtype, extents, options):
    """What makes two problems one; an option that is not named has its first value."""
    first = {"layout": "nk", "epilogue": "none", "mask": "causal", "page": "128"}
    chosen = {name: value for name, value in (options or {}).items() if first.get(name) != value}
    return (kernel, dtype, tuple(sorted((extents or {}).items())), tuple(sorted(chosen.items())))


def ratios(mine: dict, peers: dict) -> dict:
    """Over 1 is faster than the peer, or more than the copy bandwidth."""
    found = {}
    copy = (peers.get("copy") or {}).get("gbytes_per_s")
    times = peers.get("times") or {}
    for name, row in mine.items():
        if "us" not in row:
            continue
        by_peer = {peer: t["us"] / row["us"] for peer, t in times.get(name, {}).items() if "us" in t}
        if by_peer:
            found[name] = dict(by_peer)
            # The library's best: what is not Triton's.
            library = [ratio for peer, ratio in by_peer.items() if not peer.startswith("triton")]
            if library:
                found[name]["best library"] = min(library)
        if copy and name.startswith(("attention_decode", "matvec", "rms_norm", "softmax")):
            found.setdefault(name, {})["copy bandwidth"] = row["gbytes_per_s"] / copy
    return found


def model_ratios(mine: dict, peer: dict) -> dict:
    """Our tokens per second over the peer's."""

    def best(row, name):
        value = row.get(name)
        return value.get("best") if isinstance(value, dict) else value

    found = {}
    for name in ("prefill_tokens_per_s", "decode_tokens_per_s"):
        a, b = best(mine, name), best(peer, name)
        if a and b:
            found[name.removesuffix("_tokens_per_s")] = a / b
    return found


def flat(nested: dict, above: str = ""):
    """Every number of nested objects, with the names that lead to it."""
    for name, value in nested.items():
        path = f"{above} {name}".strip()
        if isinstance(value, dict):
            yield from flat(value, path)
        elif isinstance(value, (int, float)):
            yield path, value
