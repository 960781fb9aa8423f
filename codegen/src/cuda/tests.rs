//! The writer on small kernels that together have every statement.
//!
//! What they compute is checked where PTX can be run; here it is what the text promises: determinism, the list of parameters,
//! the map of lines, and the text itself for a few.

mod build;
mod cases;
mod hopper;

use super::{ParamSlot, WriteOptions, write};
use crate::gpu::{Op, Operand, StmtKind};
use crate::ir::{BinaryOp, DType};

fn all() -> Vec<crate::gpu::GpuFunc> {
    [cases::general(), hopper::hopper()].concat()
}

fn text(func: &crate::gpu::GpuFunc) -> String {
    let source = write(func, &WriteOptions::default());
    // The prelude is the same in all of them.
    let at = source.text.find("extern \"C\"").expect("there should be a kernel");
    format!("// calls: {}\n{}", source.prelude.join(" "), &source.text[at..])
}

#[test]
fn text_of_an_elementwise_kernel() {
    insta::assert_snapshot!("axpy", text(&cases::axpy()));
}

#[test]
fn text_of_a_row_reduction() {
    insta::assert_snapshot!("rms_norm", text(&cases::rms_norm()));
}

#[test]
fn text_of_a_matrix_product() {
    insta::assert_snapshot!("mma", text(&cases::mma(DType::BF16, false, true)));
}

#[test]
fn text_of_control_flow() {
    insta::assert_snapshot!("control", text(&cases::control()));
}

#[test]
fn text_of_views() {
    insta::assert_snapshot!("views", text(&cases::views()));
}

#[test]
fn text_of_a_warp_specialised_product() {
    insta::assert_snapshot!("hopper_gemm", text(&hopper::hopper_gemm(DType::BF16, false, false)));
}

#[test]
fn the_text_is_deterministic_and_its_braces_match() {
    for func in all() {
        let a = write(&func, &WriteOptions::default());
        let b = write(&func, &WriteOptions::default());
        assert_eq!(a.text, b.text, "{}", func.name);
        let count = |c| a.text.matches(c).count();
        assert_eq!(count('{'), count('}'), "{}", func.name);
        assert_eq!(count('('), count(')'), "{}", func.name);
        assert_eq!(a.entry, func.name);
        assert!(!a.text.contains("#include"), "{}", func.name);
    }
}

#[test]
fn parameters_as_data_are_those_of_the_text() {
    for func in all() {
        let source = write(&func, &WriteOptions::default());
        let from = source.text.find("\nextern").expect("there should be a kernel");
        let list = &source.text[from..];
        let list = &list[list.find("(\n").expect("there should be parameters") + 1
            ..list.find(") {").expect("and a body")];
        let declared: Vec<&str> = list.split(',').map(str::trim).filter(|d| !d.is_empty()).collect();
        assert_eq!(declared.len(), source.params.len(), "{}: {declared:?}", func.name);
        for (declaration, slot) in declared.iter().zip(&source.params) {
            let fits = match slot {
                ParamSlot::Pointer { .. } => declaration.contains('*'),
                ParamSlot::Extent { axis, .. } => {
                    declaration.starts_with("int ") && declaration.contains(&format!("_n{axis}"))
                }
                ParamSlot::Stride { axis, is_wide, .. } => {
                    declaration.starts_with(if *is_wide { "long long " } else { "int " })
                        && declaration.contains(&format!("_s{axis}"))
                }
                ParamSlot::Scalar { .. } => !declaration.contains('*'),
                ParamSlot::Map(_) => declaration.starts_with("const __grid_constant__ TensorMap"),
                ParamSlot::GridExtent { axis } => *declaration == format!("int n_programs_{axis}"),
                ParamSlot::Status => *declaration == "unsigned long long* status",
            };
            assert!(fits, "{}: `{declaration}` is not {slot:?}", func.name);
        }
    }
}

#[test]
fn lines_lead_back_to_the_author() {
    for func in all() {
        for line_directives in [false, true] {
            let source = write(&func, &WriteOptions { line_directives, ..WriteOptions::default() });
            let lines: Vec<&str> = source.text.lines().collect();
            for (line, loc) in &source.lines {
                let text = lines[*line as usize - 1].trim();
                if let Some(rest) = text.strip_prefix("// kernel.rs:") {
                    assert_eq!(rest, loc.line.to_string(), "{}", func.name);
                }
            }
            let stores = lines.iter().position(|l| l.contains("store<"));
            let known = |n: usize| source.lines.iter().any(|(line, _)| *line as usize == n + 1);
            assert!(stores.is_none_or(|n| known(n) || lines[n].contains("forceinline")), "{}", func.name);
        }
    }
}

#[test]
fn no_alias_reads_read_only_views_through_the_other_path() {
    let func = cases::axpy();
    let options = WriteOptions { no_alias: true, ..WriteOptions::default() };
    let source = write(&func, &options);
    assert!(source.text.contains("load_or_nc<4>(in_, xs"), "{}", source.text);
    assert!(source.text.contains("load_or<4>(in_, ys"), "a view that is stored to may change");
}

#[test]
fn names_of_the_author_keep_clear_of_the_prelude() {
    let mut b = build::Build::new("clash", 1);
    let x = b.param("load", DType::I32);
    let y = b.view("lane", DType::I32, 1, true);
    let (zero, two) = (b.int(0), b.int(2));
    let v = b.scalar("int", DType::I32);
    b.set(v, Op::Binary(BinaryOp::Mul, Operand::of(x), Operand::of(two)));
    b.stmt(StmtKind::Store {
        view: y,
        offsets: vec![zero],
        coords: vec![crate::gpu::Coord::Zero],
        src: v,
        vector: 1,
    });
    let source = write(&b.done(), &WriteOptions::default());
    for text in ["int load_1", "int* lane_1", "const int int_1 = mul(load_1, 2);"] {
        assert!(source.text.contains(text), "{text} should be in\n{}", source.text);
    }
}

#[test]
fn a_small_view_has_short_strides() {
    let mut func = cases::axpy();
    func.params[0].is_small = true;
    func.params[0].facts.contiguous = false;
    let source = write(&func, &WriteOptions::default());
    assert!(source.text.contains("    int x_s0,\n"), "{}", source.text);
    assert!(source.params.contains(&ParamSlot::Stride { param: 0, axis: 0, is_wide: false }));
}
