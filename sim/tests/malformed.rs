//! Broken modules and broken kernels end in an error or a finding, never in a panic.

mod common;

use common::{Rng, options};
use tilewright_sim::{EncodeArgs, Launch, Machine, Policy, Race};

const FIXTURES: [&str; 5] = [
    include_str!("fixtures/elementwise.ptx"),
    include_str!("fixtures/blocks.ptx"),
    include_str!("fixtures/mma.ptx"),
    include_str!("fixtures/cluster.ptx"),
    include_str!("fixtures/wgmma.ptx"),
];

/// The text with a line lost, a byte changed, a digit changed, or its end cut off.
fn damaged(text: &str, rng: &mut Rng) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let at = rng.next() as usize % bytes.len();
    match rng.next() % 4 {
        0 => {
            let lines: Vec<&str> = text.lines().collect();
            let skip = rng.next() as usize % lines.len();
            return lines
                .iter()
                .enumerate()
                .filter(|(i, _)| *i != skip)
                .map(|(_, l)| format!("{l}\n"))
                .collect();
        }
        1 => bytes[at] = b" {}[]();,.%@-+0129abrp$"[rng.next() as usize % 22],
        2 => {
            if let Some(digit) = bytes[at..].iter().position(u8::is_ascii_digit) {
                bytes[at + digit] = b'0' + (rng.next() % 10) as u8;
            }
        }
        _ => bytes.truncate(at),
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn damaged_modules_and_kernels() {
    let mut rng = Rng(17);
    let mut ran = 0;
    for round in 0..300 {
        let text = damaged(FIXTURES[round % FIXTURES.len()], &mut rng);
        let mut machine = Machine::new();
        let Ok(module) = machine.load(&text) else { continue };
        let x = machine.alloc(4096, "x");
        let map = machine
            .encode_tensor_map(&EncodeArgs {
                map_address: 0,
                data_type: 9,
                rank: 2,
                global_address: x,
                global_dim: &[32, 64],
                global_strides: &[64],
                box_dim: &[32, 64],
                element_strides: &[1, 1],
                interleave: 0,
                swizzle: 2,
                l2_promotion: 0,
                oob_fill: 0,
            })
            .expect("the map should be legal");
        for kernel in module.kernels() {
            let mut params = vec![0; kernel.param_bytes as usize];
            for p in &kernel.params {
                let value = match p.bytes {
                    128 => map.to_vec(),
                    8 => x.to_le_bytes().to_vec(),
                    n => 60u32.to_le_bytes()[..(n as usize).min(4)].to_vec(),
                };
                params[p.offset as usize..][..value.len()].copy_from_slice(&value);
            }
            let mut options =
                options(Policy::Random, round as u64, if round % 2 == 0 { Race::On } else { Race::Off });
            options.step_limit = 3000;
            let launch = Launch {
                grid: [2, 1, 1],
                block: [160, 1, 1],
                cluster: None,
                dynamic_shared_bytes: 41_024,
                options,
            };
            ran += u32::from(machine.launch(&module, &kernel.name, &launch, &params).is_ok());
        }
    }
    assert!(ran > 200, "{ran} kernels ran");
}

#[test]
fn an_unknown_form_is_named_with_its_line() {
    let text = FIXTURES[0].replacen("add.f32", "add.rq.f32", 1);
    let error = Machine::new().load(&text).expect_err("the form does not exist").to_string();
    assert!(error.contains("`add.rq.f32`") && error.starts_with("PTX line"), "{error}");
}
