//! Names in the CUDA text: the author's own where there is one, with a number when it is taken.
//!
//! Temporaries of the writer end in `_`, which no name from here does, so they need no table.

use std::collections::BTreeSet;

/// Words that mean something in CUDA C, and names that every kernel defines.
const RESERVED: &str = "alignas alignof and asm auto bitand bitor bool break case catch char class compl const constexpr \
    continue decltype default delete do double else enum explicit export extern false float for friend goto if inline int long \
    mutable namespace new noexcept not nullptr operator or private protected public register return short signed sizeof static \
    struct switch template this throw true try typedef typeid typename union unsigned using virtual void volatile wchar_t while \
    xor half main printf min max abs exp log sin cos tanh pow floor ceil sqrt rsqrt erf fabs clock signbit assert \
    threadIdx blockIdx blockDim gridDim warpSize tid lane warp shared status infinity nan";

/// Gives out names, each once.
#[derive(Debug)]
pub(crate) struct Names {
    taken: BTreeSet<String>,
}

impl Names {
    /// Names that keep clear of CUDA C and of `others`.
    pub(crate) fn new<'a>(others: impl Iterator<Item = &'a str>) -> Self {
        let taken = RESERVED.split_whitespace().chain(others).map(str::to_owned).collect();
        Self { taken }
    }

    /// `wanted`, made an identifier, with the first free number behind it when it is taken.
    pub(crate) fn unique(&mut self, wanted: &str) -> String {
        let base = identifier(wanted);
        if self.taken.insert(base.clone()) {
            return base;
        }
        let name = (1..).map(|i| format!("{base}_{i}")).find(|n| !self.taken.contains(n));
        let name = name.expect("some number should be free");
        self.taken.insert(name.clone());
        name
    }
}

/// `wanted` with what C does not allow replaced.
pub(crate) fn identifier(wanted: &str) -> String {
    let mut out: String =
        wanted.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect();
    while out.ends_with('_') {
        out.pop();
    }
    // Leading underscores and doubled ones belong to the implementation.
    while out.contains("__") {
        out = out.replace("__", "_");
    }
    let out = out.trim_start_matches('_').to_owned();
    match out.chars().next() {
        None => "value".to_owned(),
        Some(c) if c.is_ascii_digit() => format!("n{out}"),
        Some(_) => out,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_identifiers_and_differ() {
        let mut names = Names::new(["load"].into_iter());
        assert_eq!(names.unique("acc"), "acc");
        assert_eq!(names.unique("acc"), "acc_1");
        assert_eq!(names.unique("load"), "load_1");
        assert_eq!(names.unique("for"), "for_1");
        assert_eq!(names.unique("__x__"), "x");
        assert_eq!(names.unique("3d"), "n3d");
        assert_eq!(names.unique("größe"), "gr_e");
        assert_eq!(names.unique(""), "value");
    }
}
