//! Shared by the tests: launching fixtures, packing parameters, reproducible data.

#![allow(dead_code, reason = "each test binary uses its part")]

use tilewright_sim::{EncodeArgs, Launch, Machine, Module, Options, Policy, Race, Report};

/// A value of a kernel parameter.
pub(crate) enum Arg {
    U64(u64),
    I32(i32),
    F32(f32),
    Map([u8; 128]),
}

/// A small generator.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A whole number in -4..=4: sums of products stay exact in single precision.
    pub(crate) fn small(&mut self) -> f32 {
        (self.next() >> 40) as f32 % 9.0 - 4.0
    }

    /// A number in [-1, 1).
    pub(crate) fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// A machine with one fixture loaded.
pub(crate) struct Bench {
    pub(crate) machine: Machine,
    pub(crate) module: Module,
}

pub(crate) fn options(policy: Policy, seed: u64, race: Race) -> Options {
    Options { policy, seed, race, threads: Some(1), step_limit: 50_000_000, ..Options::default() }
}

impl Bench {
    pub(crate) fn new(ptx: &str) -> Bench {
        let mut machine = Machine::new();
        let module = machine.load(ptx).unwrap_or_else(|e| panic!("the fixture should load: {e}"));
        Bench { machine, module }
    }

    pub(crate) fn upload(&mut self, data: &[u8], name: &str) -> u64 {
        let addr = self.machine.alloc(data.len() as u64, name);
        self.machine.write(addr, data).expect("the copy should be in bounds");
        addr
    }

    pub(crate) fn upload_f32(&mut self, data: &[f32], name: &str) -> u64 {
        let bytes: Vec<u8> = data.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.upload(&bytes, name)
    }

    pub(crate) fn upload_bf16(&mut self, data: &[f32], name: &str) -> u64 {
        let bytes: Vec<u8> = data.iter().flat_map(|&v| half::bf16::from_f32(v).to_le_bytes()).collect();
        self.upload(&bytes, name)
    }

    pub(crate) fn bytes(&self, addr: u64, n: usize) -> Vec<u8> {
        let mut out = vec![0; n];
        self.machine.read(addr, &mut out).expect("the copy should be in bounds");
        out
    }

    pub(crate) fn f32s(&self, addr: u64, n: usize) -> Vec<f32> {
        self.bytes(addr, 4 * n)
            .chunks_exact(4)
            .map(|c| f32::from_le_bytes([c[0], c[1], c[2], c[3]]))
            .collect()
    }

    pub(crate) fn u32s(&self, addr: u64, n: usize) -> Vec<u32> {
        self.bytes(addr, 4 * n)
            .chunks_exact(4)
            .map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]]))
            .collect()
    }

    pub(crate) fn bf16s(&self, addr: u64, n: usize) -> Vec<f32> {
        let bytes = self.bytes(addr, 2 * n);
        bytes.chunks_exact(2).map(|c| half::bf16::from_le_bytes([c[0], c[1]]).to_f32()).collect()
    }

    /// A map of a row-major bf16 matrix with a 128-byte swizzle, or none.
    pub(crate) fn map_2d(
        &self,
        addr: u64,
        rows: u64,
        columns: u64,
        tile: [u32; 2],
        swizzle: u32,
    ) -> [u8; 128] {
        self.machine
            .encode_tensor_map(&EncodeArgs {
                map_address: 0,
                data_type: 9,
                rank: 2,
                global_address: addr,
                global_dim: &[columns, rows],
                global_strides: &[2 * columns],
                box_dim: &[tile[1], tile[0]],
                element_strides: &[1, 1],
                interleave: 0,
                swizzle,
                l2_promotion: 0,
                oob_fill: 0,
            })
            .expect("the map should be legal")
    }

    pub(crate) fn run(
        &self,
        kernel: &str,
        grid: [u32; 3],
        block: u32,
        shared: u32,
        args: &[Arg],
        options: Options,
    ) -> Report {
        let info = self.module.kernel(kernel).expect("the kernel should exist");
        assert_eq!(info.params.len(), args.len(), "arguments of `{kernel}`");
        let mut params = vec![0; info.param_bytes as usize];
        for (place, arg) in info.params.iter().zip(args) {
            let bytes = match arg {
                Arg::U64(v) => v.to_le_bytes().to_vec(),
                Arg::I32(v) => v.to_le_bytes().to_vec(),
                Arg::F32(v) => v.to_le_bytes().to_vec(),
                Arg::Map(v) => v.to_vec(),
            };
            assert_eq!(bytes.len(), place.bytes as usize, "size of argument `{}`", place.name);
            params[place.offset as usize..][..bytes.len()].copy_from_slice(&bytes);
        }
        let launch =
            Launch { grid, block: [block, 1, 1], cluster: None, dynamic_shared_bytes: shared, options };
        self.machine.launch(&self.module, kernel, &launch, &params).expect("the launch should start")
    }
}
