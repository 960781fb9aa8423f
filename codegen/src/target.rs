//! The GPUs we lower for: one row of limits and abilities each.
//!
//! Source: CUDA C++ Programming Guide, "Compute Capabilities"; PTX ISA manual for the instructions.

/// A GPU architecture as the lowering sees it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct GpuTarget {
    /// Name for the compiler, such as `sm_90a`.
    pub arch: &'static str,
    /// Compute capability times ten.
    pub capability: u32,
    /// Largest dynamic shared memory of a block, in bytes.
    pub shared_limit_bytes: u32,
    /// `wgmma` and `setmaxnreg`.
    pub has_wgmma: bool,
    /// Tensor copies, mbarriers that count bytes, clusters, `stmatrix`.
    pub has_tensor_copies: bool,
}

/// Every target, oldest first.
pub const GPU_TARGETS: &[GpuTarget] = &[
    GpuTarget {
        arch: "sm_80",
        capability: 80,
        shared_limit_bytes: 163 << 10,
        has_wgmma: false,
        has_tensor_copies: false,
    },
    GpuTarget {
        arch: "sm_86",
        capability: 86,
        shared_limit_bytes: 99 << 10,
        has_wgmma: false,
        has_tensor_copies: false,
    },
    GpuTarget {
        arch: "sm_89",
        capability: 89,
        shared_limit_bytes: 99 << 10,
        has_wgmma: false,
        has_tensor_copies: false,
    },
    GpuTarget {
        arch: "sm_90a",
        capability: 90,
        shared_limit_bytes: 227 << 10,
        has_wgmma: true,
        has_tensor_copies: true,
    },
    GpuTarget {
        arch: "sm_100a",
        capability: 100,
        shared_limit_bytes: 227 << 10,
        has_wgmma: false,
        has_tensor_copies: true,
    },
    GpuTarget {
        arch: "sm_120",
        capability: 120,
        shared_limit_bytes: 99 << 10,
        has_wgmma: false,
        has_tensor_copies: true,
    },
];

impl GpuTarget {
    /// The target named `arch`, if there is one.
    #[must_use]
    pub fn from_arch(arch: &str) -> Option<&'static Self> {
        GPU_TARGETS.iter().find(|t| t.arch == arch)
    }

    /// The target for a device of this compute capability: the newest that its code runs on.
    #[must_use]
    pub fn for_capability(major: u32, minor: u32) -> Option<&'static Self> {
        let wanted = major * 10 + minor;
        // `a` targets run on their own capability only; within a major version code runs on later minors.
        GPU_TARGETS.iter().rev().find(|t| {
            t.capability == wanted
                || (!t.arch.ends_with('a') && t.capability / 10 == major && t.capability < wanted)
        })
    }
}
