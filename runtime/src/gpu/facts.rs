//! What a launch knows of its arguments.

use tilewright_codegen::gpu::ArgFacts;
use tilewright_codegen::ir::ViewFacts;
use tilewright_codegen::launch::{Arg, ViewArg};

/// Divisors beyond this are of no use: 16 one-byte elements fill the widest access.
const MOST_DIVISIBLE: u64 = 16;

/// The facts of one argument; of a scalar there are none.
#[must_use]
pub fn of(arg: &Arg) -> ArgFacts {
    match arg {
        Arg::View(view) => of_view(view),
        Arg::Scalar(_) => ArgFacts::default(),
    }
}

fn of_view(view: &ViewArg) -> ArgFacts {
    let rank = usize::from(view.rank);
    let bytes = view.dtype.size_bytes() as u64;
    let (dims, strides) = (&view.dims[..rank], &view.strides[..rank]);
    if dims.contains(&0) {
        // Nothing of an empty view is ever addressed, and no tensor map describes one.
        return ArgFacts { facts: ViewFacts::default(), is_small: true };
    }
    let reach: u128 = dims
        .iter()
        .zip(strides)
        .map(|(&n, &s)| (n as u128 - 1) * u128::from(s.unsigned_abs()) * u128::from(bytes))
        .sum();
    let is_small = reach + u128::from(bytes) < 1 << 31;
    let last = rank - 1;
    if strides[last] != 1 && dims[last] != 1 {
        return ArgFacts { facts: ViewFacts::default(), is_small };
    }
    let address = view.ptr.addr() as u64;
    if !address.is_multiple_of(bytes) {
        return ArgFacts { facts: ViewFacts { contiguous: true, divisible: 1 }, is_small };
    }
    // Axes of one element are never stepped along.
    let stepped = (0..last).filter(|&a| dims[a] > 1).map(|a| strides[a].unsigned_abs());
    let all = stepped.fold(MOST_DIVISIBLE | (address / bytes) | dims[last].unsigned_abs(), |m, s| m | s);
    ArgFacts { facts: ViewFacts { contiguous: true, divisible: 1 << all.trailing_zeros() }, is_small }
}

/// The facts of all arguments as one number: what distinguishes variants of a kernel.
#[must_use]
pub fn hash(args: &[Arg]) -> u64 {
    args.iter().fold(0xcbf2_9ce4_8422_2325, |h, arg| {
        let f = of(arg);
        let code =
            u64::from(f.facts.divisible) << 2 | u64::from(f.facts.contiguous) << 1 | u64::from(f.is_small);
        (h ^ code).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use tilewright_codegen::ir::{DType, MAX_RANK};

    use super::*;

    fn view(address: usize, dims: &[i64], strides: &[i64]) -> Arg {
        let pad = |v: &[i64]| {
            let mut out = [1; MAX_RANK];
            out[..v.len()].copy_from_slice(v);
            out
        };
        Arg::View(ViewArg {
            ptr: std::ptr::without_provenance_mut(address),
            dtype: DType::BF16,
            rank: dims.len() as u8,
            mutable: false,
            dims: pad(dims),
            strides: pad(strides),
        })
    }

    #[test]
    fn facts_follow_from_address_extents_and_strides() {
        let facts = |arg: Arg| (of(&arg).facts.contiguous, of(&arg).facts.divisible);
        assert_eq!(facts(view(4096, &[7, 64], &[64, 1])), (true, 16));
        assert_eq!(facts(view(4096, &[7, 64], &[72, 1])), (true, 8), "the rows");
        assert_eq!(facts(view(4112, &[7, 64], &[64, 1])), (true, 8), "the address");
        assert_eq!(facts(view(4096, &[7, 63], &[64, 1])), (true, 1), "the last extent");
        assert_eq!(facts(view(4096, &[1, 64], &[63, 1])), (true, 16), "an axis of one element");
        assert_eq!(facts(view(4096, &[7, 64], &[1, 7])), (false, 1), "transposed");
        assert_eq!(facts(view(4096, &[0, 64], &[64, 1])), (false, 1), "empty");
        assert!(of(&view(4096, &[7, 64], &[64, 1])).is_small);
        assert!(!of(&view(4096, &[1 << 20, 2048], &[2048, 1])).is_small);
        assert_ne!(hash(&[view(4096, &[7, 64], &[64, 1])]), hash(&[view(4096, &[7, 63], &[64, 1])]));
    }
}
