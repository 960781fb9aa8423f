//! A machine with one loaded kernel: buffers in, a launch, buffers out.

use half::{bf16, f16};
use tilewright_sim::{EncodeArgs, FindingKind, Launch, Machine, Module, Race};

use crate::verdict::{Plan, Verdict};

/// One run of a kernel. Its steps end in a [`Verdict`] where something is not as it should be.
pub(crate) struct Rig<'a> {
    machine: Machine,
    module: Module,
    kernel: &'a str,
    plan: Plan,
    /// What the launches found, in order.
    pub(crate) findings: Vec<(FindingKind, String)>,
}

/// An argument of a kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Arg<'a> {
    Pointer(u64),
    I32(i32),
    F32(f32),
    Bytes(&'a [u8]),
}

/// Blocks, threads of a block, dynamic shared memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) grid: [u32; 3],
    pub(crate) threads: u32,
    pub(crate) shared_bytes: u32,
}

impl Shape {
    pub(crate) const fn new(grid: [u32; 3], threads: u32) -> Self {
        Self { grid, threads, shared_bytes: 0 }
    }

    pub(crate) const fn shared(self, shared_bytes: u32) -> Self {
        Self { shared_bytes, ..self }
    }
}

/// What a buffer holds.
pub(crate) trait Element: Copy {
    fn put(self, bytes: &mut Vec<u8>);
    fn get(bytes: &[u8]) -> Self;
}

macro_rules! elements {
    ($($ty:ty),*) => {
        $(impl Element for $ty {
            fn put(self, bytes: &mut Vec<u8>) {
                bytes.extend(self.to_le_bytes());
            }
            fn get(bytes: &[u8]) -> Self {
                let mut own = [0; size_of::<$ty>()];
                own.copy_from_slice(bytes);
                <$ty>::from_le_bytes(own)
            }
        })*
    };
}
elements!(u8, i8, i16, u16, i32, u32, i64, u64, f32, f64, f16, bf16);

impl<'a> Rig<'a> {
    pub(crate) fn new(ptx: &str, kernel: &'a str, plan: Plan) -> Result<Self, Verdict> {
        let mut machine = Machine::new();
        let module = machine.load(ptx).map_err(|e| Verdict::Failed(e.to_string()))?;
        Ok(Self { machine, module, kernel, plan, findings: Vec::new() })
    }

    /// Whether races are looked for.
    pub(crate) fn looks_for_races(&self) -> bool {
        self.plan.race == Race::On
    }

    /// A buffer with these elements.
    pub(crate) fn buffer<T: Element>(&mut self, name: &str, data: &[T]) -> Result<u64, Verdict> {
        let mut bytes = Vec::new();
        data.iter().for_each(|x| x.put(&mut bytes));
        let addr = self.machine.alloc(bytes.len() as u64, name);
        self.machine.write(addr, &bytes).map_err(|e| Verdict::Failed(e.to_string()))?;
        Ok(addr)
    }

    /// Elements from an address on.
    pub(crate) fn read<T: Element>(&self, addr: u64, n: usize) -> Result<Vec<T>, Verdict> {
        let mut bytes = vec![0; n * size_of::<T>()];
        self.machine.read(addr, &mut bytes).map_err(|e| Verdict::Failed(e.to_string()))?;
        Ok(bytes.chunks_exact(size_of::<T>()).map(T::get).collect())
    }

    /// A map of a bf16 matrix in boxes whose rows are swizzled over `swizzle` bytes (0, 32, 64 or 128).
    pub(crate) fn map(
        &self,
        addr: u64,
        [rows, columns]: [usize; 2],
        [box_rows, box_columns]: [u32; 2],
        swizzle: u32,
    ) -> Result<[u8; 128], Verdict> {
        let swizzle = match swizzle {
            0 => 0,
            bytes => bytes.trailing_zeros() - 4,
        };
        let args = EncodeArgs {
            map_address: 0,
            data_type: 9,
            rank: 2,
            global_address: addr,
            global_dim: &[columns as u64, rows as u64],
            global_strides: &[2 * columns as u64],
            box_dim: &[box_columns, box_rows],
            element_strides: &[1, 1],
            interleave: 0,
            swizzle,
            l2_promotion: 0,
            oob_fill: 0,
        };
        self.machine.encode_tensor_map(&args).map_err(|e| Verdict::Failed(e.to_string()))
    }

    /// Runs the kernel to its end.
    pub(crate) fn launch(&mut self, shape: Shape, args: &[Arg<'_>]) -> Result<(), Verdict> {
        let failed = |e: tilewright_sim::SimError| Verdict::Failed(e.to_string());
        let info = self.module.kernel(self.kernel).map_err(failed)?;
        if info.params.len() != args.len() {
            return Err(Verdict::Failed(format!(
                "{} parameters, {} arguments",
                info.params.len(),
                args.len()
            )));
        }
        let mut params = vec![0; info.param_bytes as usize];
        for (param, arg) in info.params.iter().zip(args) {
            let own;
            let bytes: &[u8] = match arg {
                Arg::Pointer(p) => {
                    own = p.to_le_bytes();
                    &own
                }
                Arg::I32(i) => {
                    own = (*i as u32 as u64).to_le_bytes();
                    &own[..4]
                }
                Arg::F32(x) => {
                    own = u64::from(x.to_bits()).to_le_bytes();
                    &own[..4]
                }
                Arg::Bytes(bytes) => bytes,
            };
            let at = param.offset as usize;
            if bytes.len() as u64 != u64::from(param.bytes) {
                let what = format!("`{}` has {} bytes, not {}", param.name, param.bytes, bytes.len());
                return Err(Verdict::Failed(what));
            }
            params[at..at + bytes.len()].copy_from_slice(bytes);
        }
        let launch = Launch {
            grid: shape.grid,
            block: [shape.threads, 1, 1],
            cluster: None,
            dynamic_shared_bytes: shape.shared_bytes,
            options: self.plan.options(),
        };
        let report = self.machine.launch(&self.module, self.kernel, &launch, &params).map_err(failed)?;
        self.findings.extend(report.findings.iter().map(|f| (f.kind, f.to_string())));
        Ok(())
    }

    /// What the run came to, where the result is as it should be.
    pub(crate) fn clean(&mut self) -> Result<(), Verdict> {
        match self.findings.first() {
            None => Ok(()),
            Some((kind, message)) => Err(Verdict::Found(*kind, message.clone())),
        }
    }
}

/// Compares results with a reference: each within `relative` of its own size, `absolute` at least.
pub(crate) fn close(
    what: &str,
    found: &[f64],
    expected: &[f64],
    relative: f64,
    absolute: f64,
) -> Result<(), Verdict> {
    if found.len() != expected.len() {
        return Err(Verdict::Wrong(format!("{what}: {} values, not {}", found.len(), expected.len())));
    }
    for (i, (&f, &e)) in found.iter().zip(expected).enumerate() {
        // A NaN is close to nothing.
        let is_close = f == e || (f - e).abs() <= absolute + relative * e.abs();
        if !is_close {
            return Err(Verdict::Wrong(format!("{what}[{i}] is {f}, the reference {e}")));
        }
    }
    Ok(())
}

/// Compares results with a reference exactly.
pub(crate) fn equal<T: PartialEq + std::fmt::Debug>(
    what: &str,
    found: &[T],
    expected: &[T],
) -> Result<(), Verdict> {
    match found.iter().zip(expected).position(|(f, e)| f != e) {
        None if found.len() == expected.len() => Ok(()),
        None => Err(Verdict::Wrong(format!("{what}: {} values, not {}", found.len(), expected.len()))),
        Some(i) => {
            Err(Verdict::Wrong(format!("{what}[{i}] is {:?}, the reference {:?}", found[i], expected[i])))
        }
    }
}

/// The same numbers on every run: a small generator.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// From 0 to n - 1.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) % n
    }

    /// From `low` to `high`, with 20 random bits.
    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.below(1 << 20) as f64 / f64::from(1 << 20)
    }

    pub(crate) fn f32s(&mut self, n: usize, low: f64, high: f64) -> Vec<f32> {
        (0..n).map(|_| self.between(low, high) as f32).collect()
    }

    pub(crate) fn bf16s(&mut self, n: usize, low: f64, high: f64) -> Vec<bf16> {
        (0..n).map(|_| bf16::from_f64(self.between(low, high))).collect()
    }

    /// Whole numbers from `low` to `high`, whose sums of products are exact.
    pub(crate) fn whole(&mut self, n: usize, low: i64, high: i64) -> Vec<bf16> {
        (0..n).map(|_| bf16::from_f64((low + self.below((high - low + 1) as u64) as i64) as f64)).collect()
    }
}

/// Values as f64.
pub(crate) fn wide<T: Copy + Into<f64>>(values: &[T]) -> Vec<f64> {
    values.iter().map(|&v| v.into()).collect()
}
