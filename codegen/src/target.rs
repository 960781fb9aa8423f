//! The GPU architectures: one row per SM, with the limits that lowering, tuning and launch checks need.
//!
//! Figures are those of the occupancy header and the architecture traits of CUDA 13.5. "a" architectures have instructions
//! of their own (wgmma on 9.0, tcgen05 on 10.0), and their code runs on that compute capability only.

use std::fmt;

/// An architecture that CUDA code is compiled for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Arch {
    /// A100 and A30.
    Sm80,
    /// A10, A40 and RTX 30.
    Sm86,
    /// L4, L40 and RTX 40.
    Sm89,
    /// H100 and H200, with wgmma and setmaxnreg.
    Sm90a,
    /// B200 and GB200, with tcgen05.
    Sm100a,
    /// RTX 50 and RTX PRO Blackwell.
    Sm120,
}

/// Limits of an architecture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ArchLimits {
    /// Shared memory of an SM, in bytes.
    pub shared_per_sm_bytes: u32,
    /// Shared memory that one block can have, static and dynamic together, in bytes.
    pub shared_per_block_bytes: u32,
    /// Shared memory that one block can have without the function attribute, in bytes.
    pub shared_per_block_default_bytes: u32,
    /// Threads that an SM holds at a time.
    pub threads_per_sm: u32,
    /// Blocks that an SM holds at a time.
    pub blocks_per_sm: u32,
    /// Hardware barriers of an SM.
    pub barriers_per_sm: u32,
    /// 32-bit registers of an SM, and of a block.
    pub registers_per_sm: u32,
    /// 32-bit registers of a thread.
    pub registers_per_thread: u32,
    /// Threads of a block.
    pub threads_per_block: u32,
    /// Blocks of a cluster that every part of the architecture can launch; 1 without clusters.
    pub portable_cluster: u32,
    /// Blocks of a cluster with the non-portable attribute; 1 without clusters.
    pub max_cluster: u32,
}

impl Arch {
    /// Every architecture, oldest first.
    pub const ALL: [Self; 6] = [Self::Sm80, Self::Sm86, Self::Sm89, Self::Sm90a, Self::Sm100a, Self::Sm120];

    /// The compiler's name, such as `sm_90a`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sm80 => "sm_80",
            Self::Sm86 => "sm_86",
            Self::Sm89 => "sm_89",
            Self::Sm90a => "sm_90a",
            Self::Sm100a => "sm_100a",
            Self::Sm120 => "sm_120",
        }
    }

    /// The architecture that the compiler calls `name`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|arch| arch.name() == name)
    }

    /// Compute capability, as (major, minor).
    #[must_use]
    pub const fn capability(self) -> (u32, u32) {
        match self {
            Self::Sm80 => (8, 0),
            Self::Sm86 => (8, 6),
            Self::Sm89 => (8, 9),
            Self::Sm90a => (9, 0),
            Self::Sm100a => (10, 0),
            Self::Sm120 => (12, 0),
        }
    }

    /// The best architecture whose code runs on a device of this compute capability; `None` where there is none.
    #[must_use]
    pub fn for_capability(major: u32, minor: u32) -> Option<Self> {
        Self::ALL.into_iter().rev().find(|arch| {
            let (own_major, own_minor) = arch.capability();
            let exact = matches!(arch, Self::Sm90a | Self::Sm100a);
            own_major == major && if exact { own_minor == minor } else { own_minor <= minor }
        })
    }

    /// Its limits.
    #[must_use]
    pub const fn limits(self) -> ArchLimits {
        const KIB: u32 = 1024;
        let (shared, threads_per_sm, blocks_per_sm, barriers_per_sm) = match self {
            Self::Sm80 => (164 * KIB, 2048, 32, 64),
            Self::Sm86 => (100 * KIB, 1536, 16, 16),
            Self::Sm89 | Self::Sm120 => (100 * KIB, 1536, 24, 24),
            Self::Sm90a | Self::Sm100a => (228 * KIB, 2048, 32, 64),
        };
        let (portable_cluster, max_cluster) = match self {
            Self::Sm80 | Self::Sm86 | Self::Sm89 => (1, 1),
            Self::Sm90a | Self::Sm100a => (8, 16),
            Self::Sm120 => (8, 8),
        };
        ArchLimits {
            shared_per_sm_bytes: shared,
            // The driver keeps 1 KiB of every block for itself.
            shared_per_block_bytes: shared - KIB,
            shared_per_block_default_bytes: 48 * KIB,
            threads_per_sm,
            blocks_per_sm,
            barriers_per_sm,
            registers_per_sm: 65536,
            registers_per_thread: 255,
            threads_per_block: 1024,
            portable_cluster,
            max_cluster,
        }
    }

    /// Whether warpgroup products (`wgmma`) and `setmaxnreg` exist.
    #[must_use]
    pub const fn has_wgmma(self) -> bool {
        matches!(self, Self::Sm90a)
    }

    /// Whether a kernel may begin before the launch in front of it has ended (programmatic dependent launch).
    #[must_use]
    pub const fn has_dependent_launches(self) -> bool {
        self.capability().0 >= 9
    }

    /// Whether tensor copies (TMA), transaction barriers and clusters exist.
    #[must_use]
    pub const fn has_tensor_copies(self) -> bool {
        matches!(self, Self::Sm90a | Self::Sm100a | Self::Sm120)
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_gets_code_that_runs_on_it() {
        let best = |major, minor| Arch::for_capability(major, minor);
        assert_eq!(best(7, 5), None);
        assert_eq!(best(8, 0), Some(Arch::Sm80));
        assert_eq!(best(8, 6), Some(Arch::Sm86));
        assert_eq!(best(8, 7), Some(Arch::Sm86), "code of a lower minor version runs");
        assert_eq!(best(8, 9), Some(Arch::Sm89));
        assert_eq!(best(9, 0), Some(Arch::Sm90a));
        assert_eq!(best(10, 0), Some(Arch::Sm100a));
        assert_eq!(best(10, 3), None, "architecture-specific code runs on its own capability only");
        assert_eq!(best(12, 1), Some(Arch::Sm120));
        for arch in Arch::ALL {
            assert_eq!(Arch::parse(arch.name()), Some(arch));
            let (major, minor) = arch.capability();
            assert_eq!(best(major, minor), Some(arch));
        }
        assert_eq!(Arch::parse("sm_90"), None);
        assert_eq!(Arch::Sm90a.limits().shared_per_block_bytes, 232_448);
    }
}
