//! The form table: which complete instruction forms the machine knows, and what each does.
//!
//! A form is the opcode with all its modifiers, matched whole. A form that is not here stops loading with
//! its name and line; nothing is ever approximated by a relative. Arithmetic forms are rows of `alu`; forms
//! with operands of another kind (memory, control, barriers, matrices) are rows of `grammar`, matched
//! whole as well, and read by `lower`.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use crate::alu::{self, AluForm};

/// Arithmetic forms by name and number of sources (`max.f32` takes two or three).
#[derive(Debug, Default)]
pub(crate) struct Table {
    forms: BTreeMap<String, Vec<AluForm>>,
}

impl Table {
    /// Adds a form to every name `pattern` stands for: `add{.rn,}.{s32,u32}`.
    pub(crate) fn alu(&mut self, pattern: &str, form: AluForm) {
        for name in expand(pattern) {
            let forms = self.forms.entry(name).or_default();
            assert!(
                forms.iter().all(|f| f.src.len() != form.src.len()),
                "a form should have one row: {pattern}"
            );
            forms.push(form);
        }
    }

    /// Whether the form has a row already.
    pub(crate) fn contains(&self, form: &str) -> bool {
        self.forms.contains_key(form)
    }

    /// The rows of a form.
    pub(crate) fn get(&self, form: &str) -> &[AluForm] {
        self.forms.get(form).map_or(&[], Vec::as_slice)
    }
}

/// The table, built on first use.
pub(crate) fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut t = Table::default();
        alu::int::add(&mut t);
        alu::float::add(&mut t);
        alu::packed::add(&mut t);
        alu::convert::add(&mut t);
        t
    })
}

/// Expands `{a,b}` groups, in order.
fn expand(pattern: &str) -> Vec<String> {
    let Some(open) = pattern.find('{') else { return vec![pattern.to_owned()] };
    let close = open + pattern[open..].find('}').expect("a brace in the form table should be closed");
    let tails = expand(&pattern[close + 1..]);
    let choices = pattern[open + 1..close].split(',');
    choices.flat_map(|c| tails.iter().map(move |t| format!("{}{c}{t}", &pattern[..open]))).collect()
}

/// Every form and pattern, sorted: arithmetic forms by name, the rest as patterns with their alternatives.
pub fn forms() -> Vec<String> {
    let mut out: Vec<String> = table().forms.keys().filter(|f| !f.starts_with('_')).cloned().collect();
    out.extend(crate::grammar::patterns());
    out.sort();
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_expand_to_every_choice() {
        assert_eq!(expand("a{.x,}.{p,q}"), ["a.x.p", "a.x.q", "a.p", "a.q"]);
    }

    #[test]
    fn a_form_is_matched_whole() {
        assert_eq!(table().get("add.s32").len(), 1);
        assert!(table().get("add").is_empty());
        assert!(table().get("add.s32.rn").is_empty());
        assert_eq!(table().get("max.f32").len(), 2);
    }
}
