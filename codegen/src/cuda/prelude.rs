//! The prelude: device functions that kernels call, each a *part* with a name, and only those that are called.
//!
//! A part begins with `//@ name`. What a kernel or a part needs is found by the names in its text, so no list can be forgotten.

use std::collections::BTreeSet;

/// The prelude's files, in an order in which each part follows what it calls.
const FILES: [&str; 8] = [
    include_str!("prelude/convert.cuh"),
    include_str!("prelude/integer.cuh"),
    include_str!("prelude/math.cuh"),
    include_str!("prelude/memory.cuh"),
    include_str!("prelude/block.cuh"),
    include_str!("prelude/matrix.cuh"),
    include_str!("prelude/bulk.cuh"),
    include_str!("prelude/warpgroup.cuh"),
];

/// A device function, or a few overloads of one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    /// The function's name.
    pub(crate) name: &'static str,
    /// Its text.
    pub(crate) text: &'static str,
}

/// Every part, in order.
pub(crate) fn parts() -> Vec<Part> {
    let mut parts = Vec::new();
    for file in FILES {
        for part in file.split("//@ ").skip(1) {
            let (name, text) = part.split_once('\n').expect("a part should have a body");
            parts.push(Part { name: name.trim(), text });
        }
    }
    parts
}

/// The parts that `body` calls, and those that these call, in order.
pub(crate) fn used_by(body: &str) -> Vec<Part> {
    let all = parts();
    let mut used: BTreeSet<usize> = BTreeSet::new();
    let mut open = vec![body];
    while let Some(text) = open.pop() {
        let words: BTreeSet<&str> = words(text).collect();
        for (i, part) in all.iter().enumerate() {
            if words.contains(part.name) && used.insert(i) {
                open.push(part.text);
            }
        }
    }
    used.into_iter().map(|i| all[i]).collect()
}

/// The identifiers of a text; those in comments count too, which costs at most an unused function.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|w| !w.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_distinct_names_and_define_them() {
        let mut seen = BTreeSet::new();
        for part in parts() {
            assert!(seen.insert(part.name), "`{}` should be one part", part.name);
            assert!(words(part.text).any(|w| w == part.name), "`{}` should define its name", part.name);
        }
    }

    #[test]
    fn a_part_follows_what_it_calls() {
        let all = parts();
        for (i, part) in all.iter().enumerate() {
            let code: String = part.text.lines().filter(|l| !l.starts_with("//")).collect();
            for later in &all[i + 1..] {
                assert!(
                    !words(&code).any(|w| w == later.name),
                    "`{}` calls `{}` of below",
                    part.name,
                    later.name
                );
            }
        }
    }

    #[test]
    fn only_what_is_called_comes_along() {
        let names: Vec<_> = used_by("x = round_bf16(y);").iter().map(|p| p.name).collect();
        assert_eq!(names, ["bf16_to_f32", "f32_to_bf16", "round_bf16"]);
        assert!(used_by("x = y;").is_empty());
    }
}
