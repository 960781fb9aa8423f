//! The records that ship with this crate: every file under `records/`, embedded. A test keeps the list and the folder alike.

/// One embedded record file.
pub(crate) struct Shipped {
    /// Device class, the folder's name.
    pub device_class: &'static str,
    /// Kernel, the file's name.
    pub kernel: &'static str,
    /// Text of the file.
    pub json: &'static str,
}

/// Ordered by device class, then kernel.
pub(crate) const SHIPPED: &[Shipped] = &[];
