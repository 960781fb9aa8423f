//! What keeps two warpgroups and the compiler in the order that was meant: `turn` and `settle`.

use super::writer::Writer;
use crate::gpu::{Turn, Var};
use crate::ir::DType;

impl Writer<'_> {
    /// `turn`: the first warpgroup of the role waits at the first barrier, the second at the next.
    pub(crate) fn turn(&mut self, turn: Turn, first: u32) {
        let line = match turn {
            Turn::Open => format!("if (warp >> 2) pass_turn({first});"),
            Turn::Take => format!("take_turn({first} + (warp >> 2));"),
            Turn::Pass => format!("pass_turn({} - (warp >> 2));", first + 1),
            Turn::Close => format!("if (warp < 4) take_turn({first});"),
        };
        self.text.line(line);
    }

    /// `settle`.
    pub(crate) fn settle(&mut self, values: &[Var]) {
        let mut bits = Vec::new();
        for &v in values {
            let (name, ty) = (self.name(v), self.func.ty(v).clone());
            let is_float = ty.dtype() == DType::F32;
            for r in 0..ty.n_elements() {
                let element = format!("{name}[{r}]");
                bits.push(if is_float {
                    format!("__float_as_uint({element})")
                } else {
                    format!("(unsigned){element}")
                });
            }
        }
        self.text.line(format!("settle({});", bits.join(" ^ ")));
    }
}
