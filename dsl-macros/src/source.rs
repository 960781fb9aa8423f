//! What a kernel remembers of its source: the text, a hash of the tokens, and where each `let` has its initialiser.
//!
//! The text is laid out again from the tokens' own lines and columns, so it reads as written except that comments are gone.

use std::collections::HashSet;

use proc_macro2::{Delimiter, LineColumn, Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::visit::{self, Visit};

/// An author's variable and the range of its initialiser: lines and columns from 1, the end exclusive.
pub(crate) struct LetName {
    /// The variable.
    pub(crate) name: String,
    /// First character.
    pub(crate) start: (u32, u32),
    /// One past the last character.
    pub(crate) end: (u32, u32),
}

/// The `let` names of a function, outer initialisers before those nested in them.
pub(crate) fn let_names(block: &syn::Block) -> Vec<LetName> {
    struct Finder(Vec<LetName>);
    impl<'ast> Visit<'ast> for Finder {
        fn visit_local(&mut self, local: &'ast syn::Local) {
            if let (Some(name), Some(init)) = (simple_name(&local.pat), &local.init)
                && let Some((start, end)) = extent(init.expr.to_token_stream())
            {
                self.0.push(LetName { name, start: from_one(start), end: from_one(end) });
            }
            visit::visit_local(self, local);
        }

        fn visit_item(&mut self, _: &'ast syn::Item) {}
    }
    let mut finder = Finder(Vec::new());
    finder.visit_block(block);
    finder.0
}

fn simple_name(pat: &syn::Pat) -> Option<String> {
    match pat {
        syn::Pat::Ident(p) => Some(p.ident.to_string()).filter(|n| !n.starts_with('_')),
        syn::Pat::Type(p) => simple_name(&p.pat),
        _ => None,
    }
}

fn from_one(at: LineColumn) -> (u32, u32) {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    (number(at.line), number(at.column + 1))
}

/// Where the tokens begin and end.
fn extent(tokens: TokenStream) -> Option<(LineColumn, LineColumn)> {
    let mut leaves = Vec::new();
    flatten(tokens, &mut leaves);
    let start = leaves.iter().map(|l| l.1.start()).min()?;
    let end = leaves.iter().map(|l| l.1.end()).max()?;
    Some((start, end))
}

/// The tokens without their grouping, each with its text and place.
fn flatten(tokens: TokenStream, out: &mut Vec<(String, Span)>) {
    for token in tokens {
        match token {
            TokenTree::Group(g) => {
                let (open, close) = match g.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                if !open.is_empty() {
                    out.push((open.to_owned(), g.span_open()));
                }
                flatten(g.stream(), out);
                if !close.is_empty() {
                    out.push((close.to_owned(), g.span_close()));
                }
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => {
                out.push((token.to_string(), token.span()));
            }
        }
    }
}

/// The tokens laid out at their own lines and columns, the first line at the left margin.
pub(crate) fn text(tokens: TokenStream) -> String {
    let mut leaves = Vec::new();
    flatten(tokens, &mut leaves);
    let Some((_, first)) = leaves.first() else { return String::new() };
    let margin = first.start().column;
    let (mut line, mut column) = (first.start().line, margin);
    let mut text = String::new();
    for (token, span) in leaves {
        let at = span.start();
        while line < at.line {
            text.push('\n');
            line += 1;
            column = margin;
        }
        while column < at.column {
            text.push(' ');
            column += 1;
        }
        text.push_str(&token);
        (line, column) = (span.end().line, span.end().column);
    }
    text
}

/// FNV-1a of the token texts, each ended by a zero byte.
pub(crate) fn hash(streams: &[TokenStream]) -> u64 {
    let mut leaves = Vec::new();
    streams.iter().for_each(|s| flatten(s.clone(), &mut leaves));
    let bytes = leaves.iter().flat_map(|(text, _)| text.bytes().chain([0]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

/// The hashes of a kernel as CPUs and as GPUs are tuned by it: neither sees what is declared for the other alone.
///
/// The first is that of the function and the attribute as if it had no `gpu(..)`; the second that of the function, `facts(..)`
/// and `gpu(..)`, or the first where there is no such group.
pub(crate) fn hashes(attr: &TokenStream, function: &TokenStream) -> [u64; 2] {
    let arguments = arguments(attr.clone());
    let is = |argument: &TokenStream, key: &str| matches!(argument.clone().into_iter().next(), Some(TokenTree::Ident(i)) if i == key);
    let kept = |keep: &dyn Fn(&TokenStream) -> bool| -> TokenStream {
        arguments.iter().filter(|a| keep(a)).cloned().collect()
    };
    // The comma before a last group that has none of its own belongs to the group.
    let trails = |tokens: &TokenStream| matches!(tokens.clone().into_iter().last(), Some(TokenTree::Punct(p)) if p.as_char() == ',');
    let has_group = arguments.iter().any(|a| is(a, "gpu"));
    let mut rest = kept(&|a| !is(a, "gpu"));
    if has_group && !trails(attr) && trails(&rest) {
        let n = rest.clone().into_iter().count();
        rest = rest.into_iter().take(n - 1).collect();
    }
    let cpu = hash(&[rest, function.clone()]);
    if !has_group {
        return [cpu, cpu];
    }
    [cpu, hash(&[kept(&|a| is(a, "gpu") || is(a, "facts")), function.clone()])]
}

/// The attribute cut after each comma between its arguments; commas inside a closure's or an argument's brackets are not between.
fn arguments(attr: TokenStream) -> Vec<TokenStream> {
    let mut all = vec![TokenStream::new()];
    for token in attr {
        let is_comma = matches!(&token, TokenTree::Punct(p) if p.as_char() == ',');
        if let Some(last) = all.last_mut() {
            last.extend([token]);
        }
        if is_comma {
            all.push(TokenStream::new());
        }
    }
    all
}

/// Names that occur more than once, each with its second occurrence.
pub(crate) fn duplicates<'a>(names: impl IntoIterator<Item = &'a syn::Ident>) -> Vec<&'a syn::Ident> {
    let mut seen = HashSet::new();
    names.into_iter().filter(|n| !seen.insert(n.to_string())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_keeps_lines_and_columns() {
        let source = "fn f(x: u8) {\n    let a = x\n        + 1;\n}";
        let tokens: TokenStream = source.parse().expect("the source should parse");
        assert_eq!(text(tokens), source);
    }

    #[test]
    fn hash_sees_tokens_only() {
        let of = |s: &str| hash(&[s.parse().expect("the source should parse")]);
        assert_eq!(of("a + b // c"), of("a+\nb"));
        assert_ne!(of("a + b"), of("a - b"));
        assert_ne!(of("ab"), of("a b"));
    }

    #[test]
    fn what_is_declared_for_one_target_does_not_count_for_the_other() {
        let of = |attr: &str, f: &str| {
            let tokens = |s: &str| s.parse::<TokenStream>().expect("the source should parse");
            hashes(&tokens(attr), &tokens(f))
        };
        let plain = |attr: &str, f: &str| of(attr, f)[0];
        for (with, without) in [
            ("space(A: [1]), gpu(space(A: [2])), types(T: [f32])", "space(A: [1]), types(T: [f32])"),
            ("space(A: [1]), gpu(space(A: [2]))", "space(A: [1])"),
            ("space(A: [1]), gpu(space(A: [2])),", "space(A: [1]),"),
            ("gpu(space(A: [2])), space(A: [1])", "space(A: [1])"),
            ("gpu(space(A: [2]))", ""),
        ] {
            assert_eq!(plain(with, "fn f() {}"), plain(without, "fn f() {}"), "{with}");
            assert_eq!(of(without, "fn f() {}")[0], of(without, "fn f() {}")[1], "{without}");
        }
        let [cpu, gpu] = of("space(A: [1]), gpu(space(A: [2])), facts(x: contiguous)", "fn f() {}");
        assert_eq!(gpu, of("space(A: [3]), gpu(space(A: [2])), facts(x: contiguous)", "fn f() {}")[1]);
        for (attr, f) in [
            ("space(A: [1]), gpu(space(A: [4])), facts(x: contiguous)", "fn f() {}"),
            ("space(A: [1]), gpu(space(A: [2])), facts(y: contiguous)", "fn f() {}"),
            ("space(A: [1]), gpu(space(A: [2])), facts(x: contiguous)", "fn g() {}"),
        ] {
            assert_ne!(gpu, of(attr, f)[1], "{attr} {f}");
        }
        assert_ne!(cpu, plain("space(A: [1]), gpu(space(A: [2])), facts(x: contiguous)", "fn g() {}"));
        assert_ne!(cpu, plain("space(A: [3]), gpu(space(A: [2])), facts(x: contiguous)", "fn f() {}"));
    }

    #[test]
    fn let_ranges_end_after_the_initialiser() {
        let block = syn::parse_str("{\n  let a: u8 = f(\n    x);\n  let (b, _c) = g();\n let _d = 1; }")
            .expect("should parse");
        let lets = let_names(&block);
        assert_eq!(lets.len(), 1);
        assert_eq!((lets[0].name.as_str(), lets[0].start, lets[0].end), ("a", (2, 15), (3, 7)));
    }
}
