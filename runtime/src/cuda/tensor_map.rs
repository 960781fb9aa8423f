//! Tensor maps: how a tensor copy (TMA) sees a tensor in device memory, and every rule that the driver has for one.
//!
//! The driver answers a map that breaks a rule with one number for all of them, on a machine that has a device. Here each
//! broken rule names its argument and its number, on any machine. Arguments are called as the driver calls them and are in
//! its order, the fastest axis first: the reverse of a view's.

use std::fmt::Display;

use tilewright_codegen::cuda::artifact::{L2Promotion, OutOfBounds, Swizzle, TensorMapRule};
use tilewright_codegen::ir::DType;
use tilewright_codegen::launch::ViewArg;

/// Most axes.
const MAX_RANK: usize = 5;

/// A tensor map before it is encoded. Axis 0 is the fastest; its stride is one element.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TensorMap {
    /// Element type.
    pub data_type: MapType,
    /// Address of element (0, 0, ...) on the device.
    pub global_address: u64,
    /// Extent of each axis, in elements.
    pub global_dim: Vec<u64>,
    /// Distance between neighbours along axes 1, 2, ..., in bytes.
    pub global_strides: Vec<u64>,
    /// Elements along each axis that one copy walks over.
    pub box_dim: Vec<u32>,
    /// Step of the walk along each axis, in elements.
    pub element_strides: Vec<u32>,
    /// Interleaved layout.
    pub interleave: Interleave,
    /// Pattern in shared memory.
    pub swizzle: SwizzleMode,
    /// Piece that a miss brings into the second-level cache.
    pub l2_promotion: L2Promotion,
    /// What elements outside read as.
    pub oob_fill: OutOfBounds,
}

/// Element types of tensor maps, in the driver's order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "each name is its documentation")]
pub enum MapType {
    U8,
    U16,
    U32,
    I32,
    U64,
    I64,
    F16,
    F32,
    F64,
    BF16,
    /// binary32 whose subnormal numbers become zero.
    F32Ftz,
    Tf32,
    Tf32Ftz,
    /// 16 4-bit values to 8 bytes of shared memory.
    Packed16U4Align8,
    /// 16 4-bit values to the first half of 16 bytes of shared memory.
    Packed16U4Align16,
    /// 16 6-bit values to the first 12 of 16 bytes of shared memory.
    Packed16U6Align16,
}

impl MapType {
    /// The type that copies elements of `dtype`. Types without a map type of their own go as bytes.
    #[must_use]
    pub const fn of(dtype: DType) -> Self {
        match dtype {
            DType::F32 => Self::F32,
            DType::F16 => Self::F16,
            DType::BF16 => Self::BF16,
            DType::I32 => Self::I32,
            DType::I64 => Self::I64,
            DType::U32 => Self::U32,
            DType::F8E4M3 | DType::F8E5M2 | DType::I8 | DType::U8 | DType::Bool => Self::U8,
        }
    }

    /// Size of an element in global memory, in bits.
    #[must_use]
    pub const fn bits(self) -> u64 {
        match self {
            Self::Packed16U4Align8 | Self::Packed16U4Align16 => 4,
            Self::Packed16U6Align16 => 6,
            Self::U8 => 8,
            Self::U16 | Self::F16 | Self::BF16 => 16,
            Self::U32 | Self::I32 | Self::F32 | Self::F32Ftz | Self::Tf32 | Self::Tf32Ftz => 32,
            Self::U64 | Self::I64 | Self::F64 => 64,
        }
    }

    const fn is_float(self) -> bool {
        match self {
            Self::F16 | Self::F32 | Self::F64 | Self::BF16 | Self::F32Ftz | Self::Tf32 | Self::Tf32Ftz => {
                true
            }
            Self::U8 | Self::U16 | Self::U32 | Self::I32 | Self::U64 | Self::I64 => false,
            Self::Packed16U4Align8 | Self::Packed16U4Align16 | Self::Packed16U6Align16 => false,
        }
    }

    /// Packed types that fill 16 bytes of shared memory have stricter rules.
    const fn pads_to_16_bytes(self) -> bool {
        matches!(self, Self::Packed16U4Align16 | Self::Packed16U6Align16)
    }
}

/// Interleaved layouts, in the driver's order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interleave {
    /// Axes as they are.
    None,
    /// Slices of 16 bytes of the channel axis.
    B16,
    /// Slices of 32 bytes of the channel axis.
    B32,
}

/// Patterns in shared memory, in the driver's order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SwizzleMode {
    /// In order.
    None,
    /// 16-byte pieces within 32 bytes.
    B32,
    /// 16-byte pieces within 64 bytes.
    B64,
    /// 16-byte pieces within 128 bytes.
    B128,
    /// 32-byte pieces within 128 bytes.
    B128Atom32,
    /// 32-byte pieces within 128 bytes, their 8-byte halves exchanged in every second row.
    B128Atom32Flip8,
    /// 64-byte pieces within 128 bytes.
    B128Atom64,
}

impl SwizzleMode {
    const fn span_bytes(self) -> Option<u64> {
        match self {
            Self::None => None,
            Self::B32 => Some(32),
            Self::B64 => Some(64),
            Self::B128 | Self::B128Atom32 | Self::B128Atom32Flip8 | Self::B128Atom64 => Some(128),
        }
    }
}

impl From<Swizzle> for SwizzleMode {
    fn from(swizzle: Swizzle) -> Self {
        match swizzle {
            Swizzle::None => Self::None,
            Swizzle::B32 => Self::B32,
            Swizzle::B64 => Self::B64,
            Swizzle::B128 => Self::B128,
        }
    }
}

/// A rule of the driver that a map breaks.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("tensor map: {argument} is {found}, and must be {rule}")]
pub struct TensorMapError {
    /// The argument, with its axis in the driver's order.
    pub argument: String,
    /// What it is.
    pub found: String,
    /// What it must be.
    pub rule: String,
}

impl TensorMap {
    /// The map of a view, copied by boxes as a generated kernel's rule says.
    ///
    /// # Errors
    /// Every rule that is broken.
    pub fn of_view(view: &ViewArg, rule: &TensorMapRule) -> Result<Self, Vec<TensorMapError>> {
        let rank = usize::from(view.rank);
        let refuse = |argument: String, found: i64, rule: &str| {
            vec![TensorMapError { argument, found: found.to_string(), rule: rule.to_owned() }]
        };
        let Some(last) = rank.checked_sub(1) else {
            return Err(refuse("the view's rank".to_owned(), 0, "1 to 5"));
        };
        if view.dims[last] > 1 && view.strides[last] != 1 {
            let argument = format!("the view's stride along axis {last}");
            return Err(refuse(argument, view.strides[last], "1 element: tensor copies take rows"));
        }
        let size = view.dtype.size_bytes() as u64;
        let mut global_dim = Vec::with_capacity(rank);
        let mut global_strides = Vec::with_capacity(last);
        for axis in (0..rank).rev() {
            let extent = view.dims[axis];
            let stride = view.strides[axis];
            let Ok(extent) = u64::try_from(extent) else {
                return Err(refuse(format!("the view's extent along axis {axis}"), extent, "positive"));
            };
            global_dim.push(extent);
            if axis == last {
                continue;
            }
            // The stride of an axis of one element is never used and may be anything, which the driver does not know.
            let bytes = if extent == 1 {
                let below = global_dim[global_dim.len() - 2]
                    .saturating_mul(global_strides.last().copied().unwrap_or(size));
                Some(below.next_multiple_of(16).clamp(16, (1 << 40) - 16))
            } else {
                u64::try_from(stride).ok().and_then(|stride| stride.checked_mul(size))
            };
            let Some(bytes) = bytes else {
                return Err(refuse(format!("the view's stride along axis {axis}"), stride, "not negative"));
            };
            global_strides.push(bytes);
        }
        let map = Self {
            data_type: MapType::of(view.dtype),
            global_address: view.ptr.addr() as u64,
            global_dim,
            global_strides,
            box_dim: rule.box_dims.iter().rev().copied().collect(),
            element_strides: vec![1; rank],
            interleave: Interleave::None,
            swizzle: rule.swizzle.into(),
            l2_promotion: rule.l2_promotion,
            oob_fill: rule.fill,
        };
        let broken = map.broken_rules();
        if broken.is_empty() { Ok(map) } else { Err(broken) }
    }

    /// Bytes that one copy brings into shared memory, which is what a barrier must expect.
    #[must_use]
    pub fn box_bytes(&self) -> u64 {
        let steps = self.box_dim.iter().zip(&self.element_strides).enumerate();
        let elements = steps.map(|(axis, (&n, &step))| {
            let step = if axis == 0 && self.interleave == Interleave::None { 1 } else { step.max(1) };
            u64::from(n.div_ceil(step))
        });
        let bits = if self.data_type.pads_to_16_bytes() { 8 } else { self.data_type.bits() };
        elements.product::<u64>() * bits / 8
    }

    /// Every rule of `cuTensorMapEncodeTiled` that the map breaks, in the order of its arguments.
    #[must_use]
    pub fn broken_rules(&self) -> Vec<TensorMapError> {
        let mut broken = Broken(Vec::new());
        self.check_lengths(&mut broken);
        if !broken.0.is_empty() {
            // The other rules go axis by axis.
            return broken.0;
        }
        self.check_global(&mut broken);
        self.check_box(&mut broken);
        self.check_modes(&mut broken);
        broken.0
    }

    fn check_lengths(&self, broken: &mut Broken) {
        let rank = self.global_dim.len();
        let least = if self.interleave == Interleave::None { 1 } else { 3 };
        let kind = if least == 3 { " with an interleaved layout" } else { "" };
        broken
            .unless((least..=MAX_RANK).contains(&rank), "tensorRank", rank, || format!("{least} to 5{kind}"));
        let lengths = [
            ("the number of globalStrides", self.global_strides.len(), rank.saturating_sub(1)),
            ("the number of boxDim", self.box_dim.len(), rank),
            ("the number of elementStrides", self.element_strides.len(), rank),
        ];
        for (what, found, expected) in lengths {
            broken.unless(found == expected, what, found, || format!("{expected} for {rank} axes"));
        }
    }

    fn check_global(&self, broken: &mut Broken) {
        let (address, ty) = (self.global_address, self.data_type);
        let (unit, why) = match (self.interleave, ty.pads_to_16_bytes()) {
            (Interleave::B32, _) => (32, " with interleaved slices of 32 bytes"),
            (_, true) => (32, " for packed elements that fill 16 bytes"),
            (_, false) => (16, ""),
        };
        let multiple = || format!("a multiple of {unit} bytes{why}");
        broken.unless(address != 0, "globalAddress", "null", || "the address of the tensor".to_owned());
        broken.unless(address.is_multiple_of(unit), "globalAddress", format!("{address:#x}"), multiple);
        for (axis, &extent) in self.global_dim.iter().enumerate() {
            broken.unless((1..=1 << 31).contains(&extent), format!("globalDim[{axis}]"), extent, || {
                "1 to 2147483648 elements".to_owned()
            });
        }
        let inner_unit = match ty {
            MapType::Packed16U4Align16 | MapType::Packed16U6Align16 => 128,
            MapType::Packed16U4Align8 => 2,
            MapType::U8 | MapType::U16 | MapType::U32 | MapType::I32 | MapType::U64 | MapType::I64 => 1,
            MapType::F16 | MapType::F32 | MapType::F64 | MapType::BF16 => 1,
            MapType::F32Ftz | MapType::Tf32 | MapType::Tf32Ftz => 1,
        };
        let inner = self.global_dim[0];
        broken.unless(inner.is_multiple_of(inner_unit), "globalDim[0]", inner, || {
            format!("a multiple of {inner_unit} for {ty:?}")
        });
        for (axis, &stride) in self.global_strides.iter().enumerate() {
            let argument = || format!("globalStrides[{axis}]");
            broken.unless(stride.is_multiple_of(unit), argument(), stride, multiple);
            broken.unless(stride < 1 << 40, argument(), stride, || "less than 2^40 bytes".to_owned());
            // The driver compares bytes with elements; of elements under a byte it means the bytes.
            let least = self.global_dim[axis].saturating_mul(ty.bits().min(8)) / 8;
            broken.unless(stride >= least, argument(), stride, || {
                format!("at least {least} for globalDim[{axis}], which is {}", self.global_dim[axis])
            });
        }
    }

    fn check_box(&self, broken: &mut Broken) {
        for (axis, &n) in self.box_dim.iter().enumerate() {
            broken.unless((1..=256).contains(&n), format!("boxDim[{axis}]"), n, || {
                "1 to 256 elements".to_owned()
            });
        }
        let inner = self.box_dim[0];
        let row_bits = u64::from(inner) * self.data_type.bits();
        let row = if row_bits.is_multiple_of(8) {
            format!("{} bytes", row_bits / 8)
        } else {
            format!("{row_bits} bits")
        };
        if self.data_type.pads_to_16_bytes() {
            broken.unless(inner == 128, "boxDim[0]", inner, || format!("128 for {:?}", self.data_type));
        }
        if self.interleave == Interleave::None {
            let inner_row = format!("{inner} elements, {row}");
            broken.unless(row_bits.is_multiple_of(128), "boxDim[0]", inner_row.clone(), || {
                "a multiple of 16 bytes".to_owned()
            });
            if let Some(span) = self.swizzle.span_bytes() {
                broken.unless(row_bits <= span * 8, "boxDim[0]", inner_row, || {
                    format!("at most {span} bytes with the swizzle {:?}", self.swizzle)
                });
            }
        }
        // Axis 0 has no step but with an interleaved layout; its entry is ignored.
        let first = usize::from(self.interleave == Interleave::None);
        for (axis, &step) in self.element_strides.iter().enumerate().skip(first) {
            broken.unless((1..=8).contains(&step), format!("elementStrides[{axis}]"), step, || {
                "1 to 8 elements".to_owned()
            });
        }
    }

    fn check_modes(&self, broken: &mut Broken) {
        use SwizzleMode as S;
        let (ty, swizzle, interleave) = (self.data_type, self.swizzle, self.interleave);
        broken.unless(
            ty != MapType::Packed16U6Align16 || interleave == Interleave::None,
            "interleave",
            format!("{interleave:?}"),
            || format!("None for {ty:?}"),
        );
        broken.unless(
            interleave != Interleave::B32 || swizzle == S::B32,
            "swizzle",
            format!("{swizzle:?}"),
            || "B32 with interleaved slices of 32 bytes".to_owned(),
        );
        let allowed: Option<&[S]> = if ty == MapType::Packed16U4Align16 {
            Some(&[S::None, S::B128, S::B128Atom32])
        } else if ty == MapType::Packed16U6Align16 {
            Some(&[S::None, S::B128, S::B128Atom32, S::B128Atom64])
        } else {
            None
        };
        if let Some(allowed) = allowed {
            broken.unless(allowed.contains(&swizzle), "swizzle", format!("{swizzle:?}"), || {
                format!("one of {allowed:?} for {ty:?}")
            });
        }
        self.check_fill(broken);
    }

    fn check_fill(&self, broken: &mut Broken) {
        let fits = self.oob_fill == OutOfBounds::Zero || self.data_type.is_float();
        broken.unless(fits, "oobFill", format!("{:?}", self.oob_fill), || {
            format!("Zero for {:?}: NaN is for float types", self.data_type)
        });
    }
}

struct Broken(Vec<TensorMapError>);

impl Broken {
    fn unless(
        &mut self,
        holds: bool,
        argument: impl Into<String>,
        found: impl Display,
        rule: impl FnOnce() -> String,
    ) {
        if !holds {
            self.0.push(TensorMapError {
                argument: argument.into(),
                found: format!("{found}"),
                rule: rule(),
            });
        }
    }
}

#[cfg(test)]
mod tests;
