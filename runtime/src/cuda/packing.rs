//! The parameters of a generated kernel, packed as the CUDA function takes them: plain bytes, made without a device.
//!
//! The same bytes serve the driver and the simulator; only tensor maps differ, and whoever launches encodes those. A packing
//! keeps its memory from launch to launch, so that a repeated launch allocates nothing.

use tilewright_codegen::cuda::artifact::{CudaKernel, CudaParam, GridRule, IntWidth, TensorMapRule};
use tilewright_codegen::launch::{Arg, ViewArg};

#[cfg(doc)]
use crate::cuda::tensor_map::TensorMap;
use crate::cuda::tensor_map::TensorMapError;
use crate::error::CudaError;

/// The driver's form of a tensor map: 128 bytes that only the driver and the device understand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C, align(128))]
pub struct EncodedMap(pub [u64; 16]);

/// Encodes tensor maps for whoever launches.
pub trait MapEncoder {
    /// The form that copies of parameter `index` take; [`TensorMap::of_view`] has what it says.
    ///
    /// # Errors
    /// When the view breaks a rule, or the driver refuses it.
    fn encode(
        &mut self,
        index: usize,
        view: &ViewArg,
        rule: &TensorMapRule,
    ) -> Result<EncodedMap, MapFailure>;

    /// Address of the launch's status on the device; asked for only by kernels with assertions.
    fn status(&mut self) -> u64;
}

/// Why a view has no tensor map.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MapFailure {
    /// It breaks rules.
    Broken(Vec<TensorMapError>),
    /// The driver's answer.
    Driver(CudaError),
}

/// 128 bytes at a multiple of 128, which is enough for every parameter.
#[derive(Clone, Copy)]
#[repr(C, align(128))]
struct Unit([u8; 128]);

/// Packed parameters, in the order of the CUDA function.
#[derive(Default)]
pub struct Packed {
    units: Vec<Unit>,
    /// Offset and size of each parameter.
    places: Vec<(usize, usize)>,
    used: usize,
}

impl Packed {
    /// Number of parameters.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are no parameters.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The bytes of parameter `index`, at a multiple of their size.
    #[must_use]
    pub fn param(&self, index: usize) -> Option<&[u8]> {
        let &(offset, size) = self.places.get(index)?;
        self.units.get(offset / 128)?.0.get(offset % 128..offset % 128 + size)
    }

    fn clear(&mut self) {
        self.places.clear();
        self.used = 0;
    }

    /// Sizes are powers of two up to 128, so that no parameter lies across two units.
    fn push(&mut self, bytes: &[u8]) {
        let offset = self.used.next_multiple_of(bytes.len().max(1));
        let unit = offset / 128;
        if unit == self.units.len() {
            self.units.push(Unit([0; 128]));
        }
        self.units[unit].0[offset % 128..offset % 128 + bytes.len()].copy_from_slice(bytes);
        self.places.push((offset, bytes.len()));
        self.used = offset + bytes.len();
    }
}

/// Packs the arguments of a launch over a grid of program instances.
///
/// # Errors
/// [`CudaError::Argument`] when the kernel's list names an argument, axis or width that the arguments do not have, and
/// [`CudaError::TensorMap`] with every rule that a view breaks.
pub fn pack(
    kernel: &CudaKernel,
    args: &[Arg],
    programs: [u32; 3],
    encoder: &mut dyn MapEncoder,
    out: &mut Packed,
) -> Result<(), CudaError> {
    out.clear();
    for (index, param) in kernel.params.iter().enumerate() {
        let refuse = |message: String| CudaError::Argument { kernel: kernel.name.clone(), index, message };
        let view = |arg: usize| match args.get(arg) {
            Some(Arg::View(view)) => Ok(view),
            Some(Arg::Scalar(_)) => Err(refuse(format!("argument {arg} is a scalar, not a view"))),
            None => Err(refuse(format!("there is no argument {arg}, but {}", args.len()))),
        };
        let axis_of = |values: &[i64], view: &ViewArg, axis: usize| {
            if axis < usize::from(view.rank) {
                Ok(values[axis])
            } else {
                Err(refuse(format!("a view of rank {} has no axis {axis}", view.rank)))
            }
        };
        let mut integer = |value: i64, width: IntWidth| match width {
            IntWidth::I64 => {
                out.push(&value.to_le_bytes());
                Ok(())
            }
            IntWidth::I32 => {
                let narrow = i32::try_from(value);
                out.push(&narrow.map_err(|_| refuse(format!("{value} is over 32 bits")))?.to_le_bytes());
                Ok(())
            }
        };
        match param {
            CudaParam::Pointer { arg } => {
                out.push(&(view(*arg)?.ptr.expose_provenance() as u64).to_le_bytes())
            }
            CudaParam::Extent { arg, axis, width } => {
                let view = view(*arg)?;
                integer(axis_of(&view.dims, view, *axis)?, *width)?;
            }
            CudaParam::Stride { arg, axis, width } => {
                let view = view(*arg)?;
                // The stride of an axis of one element is never used and may be anything.
                let used = axis_of(&view.dims, view, *axis)? > 1;
                integer(if used { view.strides[*axis] } else { 0 }, *width)?;
            }
            CudaParam::GridExtent { axis } => {
                let extent =
                    programs.get(*axis).ok_or_else(|| refuse(format!("a grid has no axis {axis}")))?;
                integer(i64::from(*extent), IntWidth::I32)?;
            }
            CudaParam::Scalar { arg, dtype } => match args.get(*arg) {
                Some(Arg::Scalar(bits)) => out.push(&bits.to_le_bytes()[..dtype.size_bytes()]),
                Some(Arg::View(_)) => return Err(refuse(format!("argument {arg} is a view, not a scalar"))),
                None => return Err(refuse(format!("there is no argument {arg}, but {}", args.len()))),
            },
            CudaParam::Status => out.push(&encoder.status().to_le_bytes()),
            CudaParam::TensorMap { arg, map } => {
                let encoded = encoder.encode(index, view(*arg)?, map).map_err(|failure| match failure {
                    MapFailure::Driver(error) => error,
                    MapFailure::Broken(broken) => {
                        CudaError::TensorMap { kernel: kernel.name.clone(), index, broken }
                    }
                })?;
                let mut bytes = [0; 128];
                for (place, word) in bytes.chunks_exact_mut(8).zip(encoded.0) {
                    place.copy_from_slice(&word.to_ne_bytes());
                }
                out.push(&bytes);
            }
        }
    }
    Ok(())
}

/// Blocks of a launch over a grid of program instances, on a device with `n_sms` SMs.
///
/// # Errors
/// [`CudaError::Grid`] when an extent is over what the device takes, or is not whole clusters.
pub fn blocks(kernel: &CudaKernel, programs: [u32; 3], n_sms: u32) -> Result<[u32; 3], CudaError> {
    let refuse =
        |grid: [u64; 3], reason: String| CudaError::Grid { kernel: kernel.name.clone(), grid, reason };
    let wide = programs.map(u64::from);
    let total = wide.iter().fold(1u64, |n, &g| n.saturating_mul(g));
    let cluster: u64 = kernel.cluster.iter().map(|&n| u64::from(n)).product();
    let cluster = cluster.max(1);
    // Along axis 0, at most so many clusters; none without work.
    let in_line = |clusters: u64| {
        let wanted = total.div_ceil(cluster).min(clusters) * cluster;
        [wanted, u64::from(total > 0), u64::from(total > 0)]
    };
    let grid = match kernel.grid {
        GridRule::Programs => wide,
        GridRule::Clusters => in_line(u64::MAX / cluster),
        GridRule::Persistent { blocks_per_sm } => {
            in_line((u64::from(n_sms) * u64::from(blocks_per_sm) / cluster).max(1))
        }
    };
    // Blocks count programs in `int`, up to one stride beyond the last.
    if kernel.grid != GridRule::Programs && total.saturating_add(grid[0]) > i32::MAX as u64 {
        return Err(refuse(wide, format!("{total} programs are more than blocks can count")));
    }
    let most = [(1 << 31) - 1, 65535, 65535];
    for axis in 0..3 {
        if grid[axis] > most[axis] {
            return Err(refuse(grid, format!("axis {axis} has at most {} blocks", most[axis])));
        }
        let cluster = u64::from(kernel.cluster[axis].max(1));
        if !grid[axis].is_multiple_of(cluster) {
            return Err(refuse(grid, format!("axis {axis} is not a multiple of the cluster's {cluster}")));
        }
    }
    Ok(grid.map(|n| n as u32))
}

#[cfg(test)]
mod tests {
    use tilewright_codegen::cuda::artifact::{L2Promotion, MathFlags, OutOfBounds, Swizzle};
    use tilewright_codegen::ir::{DType, MAX_RANK};
    use tilewright_codegen::target::Arch;

    use super::*;
    use crate::cuda::tensor_map::TensorMap;

    struct Recorder(Vec<TensorMap>);

    impl MapEncoder for Recorder {
        fn encode(
            &mut self,
            _index: usize,
            view: &ViewArg,
            rule: &TensorMapRule,
        ) -> Result<EncodedMap, MapFailure> {
            self.0.push(TensorMap::of_view(view, rule).map_err(MapFailure::Broken)?);
            Ok(EncodedMap([self.0.len() as u64; 16]))
        }

        fn status(&mut self) -> u64 {
            0
        }
    }

    fn kernel(params: Vec<CudaParam>) -> CudaKernel {
        CudaKernel {
            name: "k".to_owned(),
            source: String::new(),
            entry: "k".to_owned(),
            arch: Arch::Sm90a,
            math: MathFlags::IEEE,
            grid: GridRule::Programs,
            block_threads: 128,
            dynamic_shared_bytes: 0,
            cluster: [1, 1, 1],
            overlaps_predecessor: false,
            params,
        }
    }

    fn view(dims: &[i64], strides: &[i64]) -> Arg {
        let mut view = ViewArg {
            ptr: std::ptr::without_provenance_mut(0x1_2345_6780),
            dtype: DType::BF16,
            rank: dims.len() as u8,
            mutable: false,
            dims: [1; MAX_RANK],
            strides: [0; MAX_RANK],
        };
        view.dims[..dims.len()].copy_from_slice(dims);
        view.strides[..dims.len()].copy_from_slice(strides);
        Arg::View(view)
    }

    #[test]
    fn every_kind_of_parameter_is_packed_at_its_alignment() {
        let map = TensorMapRule {
            box_dims: vec![64, 64],
            swizzle: Swizzle::B128,
            l2_promotion: L2Promotion::None,
            fill: OutOfBounds::Zero,
        };
        let kernel = kernel(vec![
            CudaParam::Scalar { arg: 1, dtype: DType::F16 },
            CudaParam::Pointer { arg: 0 },
            CudaParam::Extent { arg: 0, axis: 1, width: IntWidth::I32 },
            CudaParam::Stride { arg: 0, axis: 0, width: IntWidth::I64 },
            CudaParam::TensorMap { arg: 0, map: map.clone() },
            CudaParam::GridExtent { axis: 1 },
            CudaParam::TensorMap { arg: 0, map },
            CudaParam::Scalar { arg: 1, dtype: DType::U8 },
        ]);
        let args = [view(&[100, 64], &[80, 1]), Arg::Scalar(0x3c55)];
        let mut recorder = Recorder(Vec::new());
        let mut packed = Packed::default();
        // Twice, since a packing is used again.
        for _ in 0..2 {
            pack(&kernel, &args, [3, 7, 1], &mut recorder, &mut packed).expect("the arguments fit");
        }
        assert_eq!(packed.len(), kernel.params.len());
        let param = |i: usize| packed.param(i).expect("the parameter");
        assert_eq!(param(0), [0x55, 0x3c]);
        assert_eq!(param(1), 0x1_2345_6780u64.to_le_bytes());
        assert_eq!(param(2), 64i32.to_le_bytes());
        assert_eq!(param(3), 80i64.to_le_bytes());
        assert_eq!(param(4), [3u64; 16].map(u64::to_ne_bytes).concat());
        assert_eq!(param(5), 7i32.to_le_bytes());
        assert_eq!(param(6), [4u64; 16].map(u64::to_ne_bytes).concat());
        assert_eq!(param(7), [0x55]);
        assert_eq!(packed.param(8), None);
        for i in 0..packed.len() {
            let bytes = param(i);
            assert!(bytes.as_ptr().addr().is_multiple_of(bytes.len()), "parameter {i}");
        }
        assert_eq!(recorder.0[0].global_dim, [64, 100]);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let refused = |param: CudaParam, args: &[Arg]| {
            let mut packed = Packed::default();
            pack(&kernel(vec![param]), args, [1; 3], &mut Recorder(Vec::new()), &mut packed)
                .expect_err("it should not fit")
                .to_string()
        };
        let x = view(&[2, 1 << 33], &[1 << 33, 1]);
        let width = IntWidth::I32;
        let text = refused(CudaParam::Stride { arg: 0, axis: 0, width }, &[x]);
        assert!(text.contains("8589934592 is over 32 bits") && text.contains("`k`"), "{text}");
        let text = refused(CudaParam::Extent { arg: 0, axis: 2, width }, &[x]);
        assert!(text.contains("rank 2 has no axis 2"), "{text}");
        let text = refused(CudaParam::Pointer { arg: 3 }, &[x]);
        assert!(text.contains("no argument 3, but 1"), "{text}");
        let text = refused(CudaParam::Scalar { arg: 0, dtype: DType::F32 }, &[x]);
        assert!(text.contains("is a view"), "{text}");
        let text = refused(CudaParam::Pointer { arg: 0 }, &[Arg::Scalar(1)]);
        assert!(text.contains("is a scalar"), "{text}");
        let rule = TensorMapRule {
            box_dims: vec![1, 7],
            swizzle: Swizzle::None,
            l2_promotion: L2Promotion::None,
            fill: OutOfBounds::Zero,
        };
        let text = refused(CudaParam::TensorMap { arg: 0, map: rule }, &[x]);
        assert!(text.contains("globalDim[0] is 8589934592") && text.contains("boxDim[0] is 7"), "{text}");
        // A stride that is never used fits every width.
        let mut packed = Packed::default();
        let unused = CudaParam::Stride { arg: 0, axis: 0, width };
        let x = view(&[1, 8], &[1 << 40, 1]);
        pack(&kernel(vec![unused]), &[x], [1; 3], &mut Recorder(Vec::new()), &mut packed).expect("it fits");
        assert_eq!(packed.param(0), Some(&[0; 4][..]));
    }

    #[test]
    fn grids_become_blocks() {
        let with = |grid, cluster| CudaKernel { grid, cluster, ..kernel(Vec::new()) };
        let plain = with(GridRule::Programs, [1, 1, 1]);
        assert_eq!(blocks(&plain, [5, 2, 1], 132), Ok([5, 2, 1]));
        let text = blocks(&plain, [1, 65536, 1], 132).expect_err("too many").to_string();
        assert!(text.contains("axis 1") && text.contains("65536") && text.contains("65535"), "{text}");
        let paired = with(GridRule::Programs, [2, 1, 1]);
        assert_eq!(blocks(&paired, [6, 1, 1], 132), Ok([6, 1, 1]));
        assert!(blocks(&paired, [5, 1, 1], 132).is_err());
        let whole = with(GridRule::Clusters, [2, 1, 1]);
        assert_eq!(blocks(&whole, [5, 3, 1], 132), Ok([16, 1, 1]));
        assert_eq!(blocks(&whole, [5, 0, 1], 132), Ok([0, 0, 0]));
        let text = blocks(&whole, [65536, 65535, 1], 132).expect_err("too many").to_string();
        assert!(text.contains("more than blocks can count"), "{text}");
        let persistent = with(GridRule::Persistent { blocks_per_sm: 2 }, [1, 1, 1]);
        assert_eq!(blocks(&persistent, [4000, 4000, 10], 132), Ok([264, 1, 1]));
        assert_eq!(blocks(&persistent, [5, 7, 1], 132), Ok([35, 1, 1]));
        assert_eq!(blocks(&persistent, [0, 7, 1], 132), Ok([0, 0, 0]));
        let pairs = with(GridRule::Persistent { blocks_per_sm: 1 }, [2, 1, 1]);
        assert_eq!(blocks(&pairs, [1000, 1, 1], 131), Ok([130, 1, 1]));
        assert_eq!(blocks(&pairs, [3, 1, 1], 131), Ok([4, 1, 1]));
        assert!(blocks(&with(persistent.grid, [1, 2, 1]), [3, 1, 1], 131).is_err());
    }
}
