//! Tensor copies, mbarriers, `wgmma`, clusters.

use half::bf16;

use super::matrix::product;
use super::rig::{Arg, Numbers, Rig, Shape, equal, wide};
use crate::ptx::edit::{Edit, Step, first};
use crate::verdict::Verdict;

pub(super) fn hgemm(rig: &mut Rig<'_>) -> Result<(), Verdict> {
    // Ten steps of K go around the four stages more than twice; whole numbers small enough that bf16 holds every sum.
    let mnk @ [m, n, k] = [136, 200, 584];
    let mut numbers = Numbers::new(41);
    let sparse = |numbers: &mut Numbers, n: usize| -> Vec<bf16> {
        let value = |r: u64| if r < 2 { 2.0 * r as f32 - 1.0 } else { 0.0 };
        (0..n).map(|_| bf16::from_f32(value(numbers.below(8)))).collect()
    };
    let (a, b) = (sparse(&mut numbers, m * k), sparse(&mut numbers, n * k));
    let (pa, pb) = (rig.buffer("A", &a)?, rig.buffer("B", &b)?);
    let pc = rig.buffer("C", &vec![bf16::NAN; m * n])?;
    let ta = rig.map(pa, [m, k], [128, 64], 128)?;
    let tb = rig.map(pb, [n, k], [128, 64], 128)?;
    let tc = rig.map(pc, [m, n], [128, 64], 128)?;
    let shared = 4 * (128 + 128) * 64 * 2 + 128 * 128 * 2 + 64;
    let maps = [Arg::Bytes(&ta), Arg::Bytes(&tb), Arg::Bytes(&tc)];
    let shape = Shape::new([2, 2, 1], 384).shared(shared);
    rig.launch(shape, &[&maps[..], &mnk.map(|n| Arg::I32(n as i32))].concat())?;
    equal("C", &wide(&rig.read::<bf16>(pc, m * n)?), &product(&wide(&a), &wide(&b), mnk))
}

/// The kernel was written for its opcodes and has three mistakes, which the machine reports in its text as it is. A warp that looks
/// at its mbarrier after the other block has arrived there finds that phase over too, and waits for ever; 64 bytes behind the other
/// block's mbarrier, where it reads, nobody has written (it is padding before dynamic shared memory); and both blocks store a tile
/// to one place. So the blocks meet before the arrival, the read is of the tile, and one block stores.
pub(super) const CLUS_REPAIR: &[Step] = &[
    (
        first("mapa*"),
        Edit::Insert("barrier.cluster.arrive.release.aligned;\n\tbarrier.cluster.wait.acquire.aligned;"),
    ),
    (first("ld.shared::cluster*"), Edit::Offset(1, 1024 - 64)),
    (
        first("cp.async.bulk.global*"),
        Edit::Insert(
            ".reg .b32 rank;\n\t.reg .pred one;\n\tmov.u32 rank, %cluster_ctarank;\n\tsetp.eq.u32 one, rank, 0;\n\t@one",
        ),
    ),
];

pub(super) fn clus(rig: &mut Rig<'_>) -> Result<(), Verdict> {
    let threads = 64;
    let mut numbers = Numbers::new(42);
    let a = numbers.whole(128 * 64, 1, 9);
    let g: Vec<f32> = numbers.f32s(128, -1.0, 1.0);
    let (pa, pg) = (rig.buffer("A", &a)?, rig.buffer("g", &g)?);
    let po = rig.buffer("o", &vec![0f32; 2048 + 128])?;
    let ta = rig.map(pa, [128, 64], [64, 64], 0)?;
    let shape = Shape::new([2, 1, 1], threads).shared(2 * 8192 + 512);
    rig.launch(shape, &[Arg::Bytes(&ta), Arg::Pointer(pg), Arg::Pointer(po)])?;
    // Both blocks get both tiles, so both store the same sums, which is no race; pairs of bf16 seen as f32.
    let tile: Vec<f32> = rig.read(pa, 128)?;
    let sums: Vec<f32> = tile[..threads as usize].iter().map(|x| tile[0] + x).collect();
    equal("o", &rig.read::<f32>(po, threads as usize)?, &sums)?;
    equal("o", &rig.read::<f32>(po + 4 * 1024, 128)?, &tile)?;
    let twice: Vec<f32> = tile.iter().map(|x| x + x).collect();
    equal("o", &rig.read::<f32>(po + 4 * 2048, 128)?, &twice)
}
