//! Types of the tile IR: element types, shapes, tiles and views.
//!
//! Invariant: a [`Shape`] has rank 0 to [`MAX_RANK`] and only non-zero extents. A scalar of the program instance is a
//! tile of rank 0, so one set of operations serves both.

use std::fmt;

/// The largest rank of a view (device memory); tiles have rank 0 to 4.
pub const MAX_RANK: usize = 5;

/// Element type of a tile or a view.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum DType {
    /// IEEE binary32.
    F32,
    /// IEEE binary16.
    F16,
    /// bfloat16: the upper half of binary32.
    BF16,
    /// 8-bit float, 4 exponent bits, no infinities (OCP E4M3FN). Storage and conversion only.
    F8E4M3,
    /// 8-bit float, 5 exponent bits (OCP E5M2). Storage and conversion only.
    F8E5M2,
    /// Signed 8-bit integer.
    I8,
    /// Unsigned 8-bit integer.
    U8,
    /// Signed 32-bit integer, wrapping.
    I32,
    /// Signed 64-bit integer, wrapping.
    I64,
    /// Unsigned 32-bit integer, wrapping.
    U32,
    /// Truth value, one byte in memory (0 or 1).
    Bool,
}

impl DType {
    /// Every element type, in declaration order.
    pub const ALL: [Self; 11] = [
        Self::F32,
        Self::F16,
        Self::BF16,
        Self::F8E4M3,
        Self::F8E5M2,
        Self::I8,
        Self::U8,
        Self::I32,
        Self::I64,
        Self::U32,
        Self::Bool,
    ];

    /// The name in IR text and messages, such as `f32`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::F8E4M3 => "f8e4m3",
            Self::F8E5M2 => "f8e5m2",
            Self::I8 => "i8",
            Self::U8 => "u8",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::U32 => "u32",
            Self::Bool => "bool",
        }
    }

    /// The element type named `name`, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|d| d.name() == name)
    }

    /// Size of one element in memory, in bytes.
    #[must_use]
    pub const fn size_bytes(self) -> usize {
        match self {
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F16 | Self::BF16 => 2,
            Self::F8E4M3 | Self::F8E5M2 | Self::I8 | Self::U8 | Self::Bool => 1,
            Self::I64 => 8,
        }
    }

    /// Whether this is a floating-point type, the 8-bit ones included.
    #[must_use]
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::BF16 | Self::F8E4M3 | Self::F8E5M2)
    }

    /// Whether this is an integer type (`bool` is not).
    #[must_use]
    pub const fn is_int(self) -> bool {
        matches!(self, Self::I8 | Self::U8 | Self::I32 | Self::I64 | Self::U32)
    }

    /// Whether arithmetic is defined: every type but `bool` and the 8-bit floats.
    #[must_use]
    pub const fn is_arith(self) -> bool {
        !matches!(self, Self::Bool | Self::F8E4M3 | Self::F8E5M2)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Extents of a tile, outermost first.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    rank: u8,
    dims: [u32; MAX_RANK],
}

impl Shape {
    /// The shape of a scalar.
    pub const SCALAR: Self = Self { rank: 0, dims: [0; MAX_RANK] };

    /// A shape from its extents.
    ///
    /// # Panics
    /// If there are more than [`MAX_RANK`] extents or one does not fit in 32 bits: callers check both first.
    #[must_use]
    pub fn new(dims: &[usize]) -> Self {
        assert!(dims.len() <= MAX_RANK, "a shape should have rank 0 to {MAX_RANK}");
        let mut out = Self { rank: dims.len() as u8, dims: [0; MAX_RANK] };
        for (slot, &d) in out.dims.iter_mut().zip(dims) {
            *slot = u32::try_from(d).expect("an extent should fit in 32 bits");
        }
        out
    }

    /// Number of axes.
    #[must_use]
    pub const fn rank(&self) -> usize {
        self.rank as usize
    }

    /// The extent of `axis`.
    ///
    /// # Panics
    /// If `axis` is out of range.
    #[must_use]
    pub fn dim(&self, axis: usize) -> usize {
        self.as_slice()[axis] as usize
    }

    /// The extents, outermost first.
    #[must_use]
    pub fn as_slice(&self) -> &[u32] {
        &self.dims[..self.rank as usize]
    }

    /// The extents as host integers.
    #[must_use]
    pub fn to_vec(&self) -> Vec<usize> {
        self.as_slice().iter().map(|&d| d as usize).collect()
    }

    /// Number of elements (1 for a scalar).
    #[must_use]
    pub fn elements(&self) -> usize {
        self.as_slice().iter().map(|&d| d as usize).product()
    }

    /// The shape with `axis` removed.
    #[must_use]
    pub fn without(&self, axis: usize) -> Self {
        let mut d = self.to_vec();
        d.remove(axis);
        Self::new(&d)
    }

    /// The shape with `extent` inserted before `axis`.
    #[must_use]
    pub fn with(&self, axis: usize, extent: usize) -> Self {
        let mut d = self.to_vec();
        d.insert(axis, extent);
        Self::new(&d)
    }

    /// The shape with its axes rearranged: axis `i` of the result is axis `perm[i]` of `self`.
    #[must_use]
    pub fn permuted(&self, perm: &[u8]) -> Self {
        Self::new(&perm.iter().map(|&p| self.dim(p as usize)).collect::<Vec<_>>())
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, d) in self.as_slice().iter().enumerate() {
            if i > 0 {
                f.write_str("x")?;
            }
            write!(f, "{d}")?;
        }
        Ok(())
    }
}

/// A dense block of elements held by one program instance.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TileType {
    /// Element type.
    pub dtype: DType,
    /// Extents, outermost first.
    pub shape: Shape,
}

impl TileType {
    /// A tile type from its parts.
    #[must_use]
    pub const fn new(dtype: DType, shape: Shape) -> Self {
        Self { dtype, shape }
    }

    /// A scalar type.
    #[must_use]
    pub const fn scalar(dtype: DType) -> Self {
        Self { dtype, shape: Shape::SCALAR }
    }
}

impl fmt::Display for TileType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.shape.rank() == 0 {
            write!(f, "{}", self.dtype)
        } else {
            write!(f, "{}<{}>", self.dtype, self.shape)
        }
    }
}

/// A strided, bounds-known window on device memory; extents and strides are run-time values.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ViewType {
    /// Element type in memory.
    pub dtype: DType,
    /// Number of axes, 1 to [`MAX_RANK`].
    pub rank: u8,
    /// Whether it may be stored to.
    pub mutable: bool,
}

impl fmt::Display for ViewType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = if self.mutable { "view_mut" } else { "view" };
        write!(f, "{head}<{}, {}>", self.dtype, self.rank)
    }
}

/// The type of an SSA value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Type {
    /// A tile; rank 0 is a scalar.
    Tile(TileType),
    /// A view of device memory.
    View(ViewType),
}

impl Type {
    /// The tile type, if this is one.
    #[must_use]
    pub const fn tile(self) -> Option<TileType> {
        match self {
            Self::Tile(t) => Some(t),
            Self::View(_) => None,
        }
    }

    /// The view type, if this is one.
    #[must_use]
    pub const fn view(self) -> Option<ViewType> {
        match self {
            Self::View(v) => Some(v),
            Self::Tile(_) => None,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tile(t) => t.fmt(f),
            Self::View(v) => v.fmt(f),
        }
    }
}
