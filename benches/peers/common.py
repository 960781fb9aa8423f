"""What the peer scripts share: prompts, timing, and the one JSON line."""

import json
import statistics
import time
from pathlib import Path


def prompt(round_index: int, tokens: int, vocab: int) -> list[int]:
    """Token ids evenly spread over the vocabulary, other ones in every round, so that no prefix cache can help."""
    state, ids = round_index + 1, []
    for _ in range(tokens):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        ids.append(16 + (state >> 33) % (vocab - 16))
    return ids


def seconds_of(run) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def time_op(run, budget_s: float, least: int = 5) -> dict[str, float]:
    """Best and median seconds of one call; short calls are timed in groups of about a millisecond."""
    run()
    group = max(1, int(1e-3 / max(min(seconds_of(run) for _ in range(3)), 1e-7)))
    samples, until = [], time.perf_counter() + budget_s
    while len(samples) < least or time.perf_counter() < until:
        samples.append(seconds_of(lambda: [run() for _ in range(group)]) / group)
    return {"best_s": min(samples), "median_s": statistics.median(samples)}


def report(peer: str, version: str, args, prefill_s: list[float], decode_s: list[float], **more) -> None:
    """Prints tokens per second. `prefill_s` has one entry a round, `decode_s` the seconds of all decode steps of a round."""

    def rates(tokens, seconds):
        return {"best": tokens / min(seconds), "median": tokens / statistics.median(seconds)}

    line = {
        "peer": peer,
        "version": version,
        "model": Path(args.model).name,
        "threads": args.threads,
        "prefill_tokens": args.prefill,
        "decode_tokens": args.decode,
        "rounds": len(prefill_s),
        "prefill_tokens_per_s": rates(args.prefill, prefill_s),
        "decode_tokens_per_s": rates(args.decode, decode_s),
    }
    print(json.dumps(line | more), flush=True)


def add_arguments(parser, rounds: int = 3) -> None:
    parser.add_argument("model", help="checkpoint folder or GGUF file")
    parser.add_argument("--prefill", type=int, default=512, help="prompt tokens")
    parser.add_argument("--decode", type=int, default=64, help="tokens decoded after the prompt")
    parser.add_argument("--rounds", type=int, default=rounds, help="timed rounds, after one that is not timed")
    parser.add_argument("--threads", type=int, default=2)
