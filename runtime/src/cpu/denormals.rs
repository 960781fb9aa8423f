//! Flush-to-zero mode for the length of a scope.
//!
//! Masked attention scores underflow to subnormals in `exp2`, and arithmetic on subnormals runs an order of magnitude slower
//! on x86. Kernels therefore run with FTZ and DAZ set; the caller's mode comes back afterwards.

#![allow(unsafe_code, reason = "reads and writes the floating-point control register")]

/// Flush-to-zero is on until this is dropped.
#[derive(Debug)]
pub struct FlushDenormals {
    #[cfg(target_arch = "x86_64")]
    saved: u32,
}

impl FlushDenormals {
    /// Turns flush-to-zero on, on this thread.
    #[must_use]
    pub fn enter() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            let mut saved = 0u32;
            // SAFETY: every x86-64 processor has the MXCSR register; only the FTZ and DAZ bits change.
            unsafe {
                std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut saved, options(nostack, preserves_flags));
            }
            let flushed = saved | 0x8040;
            if flushed != saved {
                // SAFETY: as above.
                unsafe {
                    std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const flushed, options(nostack, preserves_flags, readonly));
                }
            }
            Self { saved }
        }
        #[cfg(not(target_arch = "x86_64"))]
        Self {}
    }
}

impl Drop for FlushDenormals {
    fn drop(&mut self) {
        #[cfg(target_arch = "x86_64")]
        if self.saved & 0x8040 != 0x8040 {
            // SAFETY: restores the value read on entry.
            unsafe {
                std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const self.saved, options(nostack, preserves_flags, readonly));
            }
        }
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn subnormals_flush_inside_and_survive_outside() {
        let tiny = std::hint::black_box(f32::MIN_POSITIVE);
        {
            let _mode = FlushDenormals::enter();
            assert_eq!(std::hint::black_box(tiny * std::hint::black_box(0.5)), 0.0);
        }
        assert!(std::hint::black_box(tiny * std::hint::black_box(0.5)) > 0.0);
    }
}
