//! Device memory: global allocations shared by all blocks, and the shared memory of one block.
//!
//! A 64-bit address carries its allocation: id in the upper bits, offset around the middle of a 64 GiB
//! window in the lower ones. So bounds are exact, a stray pointer never lands in a neighbour, and an address
//! a little outside still names the allocation it strayed from. Ids are never used again, so a stale
//! pointer is known as stale.
//!
//! Global memory is words of relaxed atomics: blocks run on several threads, and a racy kernel must not be
//! undefined behaviour here. Kernels that use atomics run on one thread (`sched`), so those need no more.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::error::SimError;

const ID_SHIFT: u32 = 36;
const ORIGIN: u64 = 1 << (ID_SHIFT - 1);

/// Generic address of the shared window: the window's 32-bit addresses are added to it.
pub(crate) const SHARED_WINDOW: u64 = 1 << ID_SHIFT;
/// Generic address of the local window.
pub(crate) const LOCAL_WINDOW: u64 = 2 << ID_SHIFT;
/// Generic address of the parameter window.
pub(crate) const PARAM_WINDOW: u64 = 3 << ID_SHIFT;
const FIRST_ID: u64 = 16;

/// First shared address of a block; the hardware keeps the first KiB for itself.
pub(crate) const SHARED_BASE: u32 = 1024;
/// Bit position of `rank + 1` in a cluster-wide shared address.
pub(crate) const RANK_SHIFT: u32 = 24;

/// Byte written over fresh memory.
pub(crate) const POISON: u8 = 0xcd;

/// Where a generic address points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Window {
    Shared,
    Local,
    Param,
    Global,
}

/// Splits a generic address.
pub(crate) fn window(addr: u64) -> Window {
    match addr >> ID_SHIFT {
        1 => Window::Shared,
        2 => Window::Local,
        3 => Window::Param,
        _ => Window::Global,
    }
}

/// One allocation.
#[derive(Debug)]
pub(crate) struct Allocation {
    words: Box<[AtomicU32]>,
    pub(crate) bytes: u64,
    pub(crate) name: String,
    pub(crate) is_const: bool,
}

/// Why an access found nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Miss(pub(crate) String);

/// All global memory of a machine.
#[derive(Debug, Default)]
pub(crate) struct GlobalMemory {
    allocations: Vec<Option<Allocation>>,
}

impl GlobalMemory {
    /// A new allocation, poisoned; its address is aligned to 256 bytes and more.
    pub(crate) fn alloc(&mut self, bytes: u64, name: &str, is_const: bool) -> u64 {
        let poison = u32::from_le_bytes([POISON; 4]);
        let words = (0..bytes.div_ceil(4)).map(|_| AtomicU32::new(poison)).collect();
        self.allocations.push(Some(Allocation { words, bytes, name: name.to_owned(), is_const }));
        ((FIRST_ID + self.allocations.len() as u64 - 1) << ID_SHIFT) + ORIGIN
    }

    pub(crate) fn free(&mut self, addr: u64) -> Result<(), SimError> {
        let fail = |message: String| SimError::Memory { action: "free", addr, bytes: 0, message };
        let (allocation, offset) = self.locate(addr).map_err(|m| fail(m.0))?;
        if offset != 0 {
            let message = format!("the address is {offset} bytes into `{}`, not its start", allocation.name);
            return Err(fail(message));
        }
        self.allocations[(addr >> ID_SHIFT) as usize - FIRST_ID as usize] = None;
        Ok(())
    }

    /// The allocation an address belongs to and the signed offset into it.
    pub(crate) fn locate(&self, addr: u64) -> Result<(&Allocation, i64), Miss> {
        let id = addr >> ID_SHIFT;
        let slot = id.checked_sub(FIRST_ID).and_then(|i| self.allocations.get(i as usize));
        match slot {
            Some(Some(allocation)) => {
                Ok((allocation, ((addr & ((1 << ID_SHIFT) - 1)) as i64) - ORIGIN as i64))
            }
            Some(None) => Err(Miss(format!("the address {addr:#x} is in memory that was freed"))),
            None if addr < 1 << 20 => {
                Err(Miss(format!("the address {addr:#x} is a null pointer or an offset without its base")))
            }
            None => Err(Miss(format!("the address {addr:#x} belongs to no allocation"))),
        }
    }

    /// The allocation and offset of an access that must lie inside.
    pub(crate) fn check(&self, addr: u64, bytes: u64) -> Result<(&Allocation, usize), Miss> {
        let (allocation, offset) = self.locate(addr)?;
        if offset < 0 || offset as u64 + bytes > allocation.bytes {
            return Err(Miss(allocation.describe(offset, bytes)));
        }
        Ok((allocation, offset as usize))
    }

    pub(crate) fn write(&self, addr: u64, data: &[u8]) -> Result<(), Miss> {
        let (allocation, at) = self.check(addr, data.len() as u64)?;
        allocation.write(at, data);
        Ok(())
    }

    pub(crate) fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), Miss> {
        let (allocation, at) = self.check(addr, out.len() as u64)?;
        allocation.read(at, out);
        Ok(())
    }
}

impl Allocation {
    fn describe(&self, offset: i64, bytes: u64) -> String {
        let Allocation { name, bytes: size, .. } = self;
        if offset < 0 {
            return format!("{bytes} bytes at {} before the start of `{name}` ({size} bytes)", -offset);
        }
        let past = offset as u64 + bytes - size;
        format!("{bytes} bytes at offset {offset} of `{name}`, {past} past its end at {size}")
    }

    #[inline]
    pub(crate) fn load32(&self, at: usize) -> u32 {
        self.words[at / 4].load(Relaxed)
    }

    #[inline]
    pub(crate) fn store32(&self, at: usize, value: u32) {
        self.words[at / 4].store(value, Relaxed);
    }

    /// Reads an aligned value of 1, 2, 4 or 8 bytes.
    #[inline]
    pub(crate) fn load(&self, at: usize, bytes: u32) -> u64 {
        let word = u64::from(self.load32(at));
        match bytes {
            1 => word >> (8 * (at & 3)) & 0xff,
            2 => word >> (8 * (at & 3)) & 0xffff,
            4 => word,
            _ => word | u64::from(self.load32(at + 4)) << 32,
        }
    }

    /// Writes an aligned value of 1, 2, 4 or 8 bytes.
    #[inline]
    pub(crate) fn store(&self, at: usize, bytes: u32, value: u64) {
        match bytes {
            4 => self.store32(at, value as u32),
            8 => {
                self.store32(at, value as u32);
                self.store32(at + 4, (value >> 32) as u32);
            }
            _ => {
                let shift = 8 * (at & 3) as u32;
                let mask = if bytes == 1 { 0xff } else { 0xffff } << shift;
                let bits = (value as u32) << shift & mask;
                self.words[at / 4]
                    .fetch_update(Relaxed, Relaxed, |w| Some(w & !mask | bits))
                    .expect("an update that always gives a value should succeed");
            }
        }
    }

    pub(crate) fn read(&self, at: usize, out: &mut [u8]) {
        let mut i = 0;
        while i < out.len() {
            let p = at + i;
            let word = self.load32(p).to_le_bytes();
            let n = (4 - p % 4).min(out.len() - i);
            out[i..i + n].copy_from_slice(&word[p % 4..p % 4 + n]);
            i += n;
        }
    }

    pub(crate) fn write(&self, at: usize, data: &[u8]) {
        let mut i = 0;
        while i < data.len() {
            let p = at + i;
            if p.is_multiple_of(4) && data.len() - i >= 4 {
                self.store32(p, u32::from_le_bytes([data[i], data[i + 1], data[i + 2], data[i + 3]]));
                i += 4;
            } else {
                self.store(p, 1, u64::from(data[i]));
                i += 1;
            }
        }
    }
}

/// Shared memory of one block: bytes, and which of them hold a value.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shared {
    pub(crate) bytes: Vec<u8>,
    written: Vec<u8>,
}

impl Shared {
    /// Poisons `bytes` bytes for a new block.
    pub(crate) fn reset(&mut self, bytes: usize) {
        self.bytes.clear();
        self.bytes.resize(bytes, POISON);
        self.written.clear();
        self.written.resize(bytes, 0);
    }

    /// Index of an access, or what is wrong with it.
    #[inline]
    pub(crate) fn index(&self, addr: u32, bytes: u32) -> Result<usize, Miss> {
        let at = addr.wrapping_sub(SHARED_BASE) as usize;
        if at + bytes as usize <= self.bytes.len() {
            return Ok(at);
        }
        let size = self.bytes.len();
        Err(Miss(if addr < SHARED_BASE {
            format!("{bytes} bytes at shared address {addr:#x}, below the block's memory at {SHARED_BASE:#x}")
        } else {
            let past = at + bytes as usize - size;
            format!(
                "{bytes} bytes at offset {at} of the block's shared memory, {past} past its end at {size}"
            )
        }))
    }

    /// Whether every byte of the range has been written.
    #[inline]
    pub(crate) fn is_written(&self, at: usize, bytes: usize) -> bool {
        self.written[at..at + bytes].iter().fold(1, |all, &w| all & w) == 1
    }

    #[inline]
    pub(crate) fn mark(&mut self, at: usize, bytes: usize) {
        self.written[at..at + bytes].fill(1);
    }

    /// Forgets that the range was written: a copy into it is in flight.
    pub(crate) fn unmark(&mut self, at: usize, bytes: usize) {
        self.written[at..at + bytes].fill(0);
    }

    #[inline]
    pub(crate) fn load(&self, at: usize, bytes: u32) -> u64 {
        let b = &self.bytes[at..at + bytes as usize];
        match bytes {
            1 => u64::from(b[0]),
            2 => u64::from(u16::from_le_bytes([b[0], b[1]])),
            4 => u64::from(u32::from_le_bytes([b[0], b[1], b[2], b[3]])),
            _ => u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]),
        }
    }

    #[inline]
    pub(crate) fn store(&mut self, at: usize, bytes: u32, value: u64) {
        let n = bytes as usize;
        self.bytes[at..at + n].copy_from_slice(&value.to_le_bytes()[..n]);
        self.mark(at, n);
    }

    /// Copies bytes in, as an asynchronous copy does.
    pub(crate) fn fill(&mut self, at: usize, data: &[u8]) {
        self.bytes[at..at + data.len()].copy_from_slice(data);
        self.mark(at, data.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stray_address_names_its_allocation() {
        let mut memory = GlobalMemory::default();
        let a = memory.alloc(10, "a", false);
        let b = memory.alloc(8, "b", false);
        let (Err(miss), Err(before)) = (memory.check(a + 8, 4), memory.check(b - 4, 4)) else {
            panic!("both accesses should miss");
        };
        assert_eq!(miss.0, "4 bytes at offset 8 of `a`, 2 past its end at 10");
        assert_eq!(before.0, "4 bytes at 4 before the start of `b` (8 bytes)");
        memory.free(a).expect("a should be free to go");
        assert!(memory.check(a, 1).is_err_and(|m| m.0.contains("freed")));
    }

    #[test]
    fn bytes_come_back_at_any_alignment() {
        let mut memory = GlobalMemory::default();
        let a = memory.alloc(23, "a", false);
        let data: Vec<u8> = (0..17).collect();
        memory.write(a + 3, &data).expect("in bounds");
        let mut out = vec![0; 17];
        memory.read(a + 3, &mut out).expect("in bounds");
        assert_eq!(out, data);
    }
}
