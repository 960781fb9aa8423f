//! Which outer variables a piece of the body assigns, and whether control leaves it.
//!
//! Invariant: names are resolved as Rust resolves them (blocks, `let` in order, patterns, closures, match arms), so a
//! shadowed name is never mistaken for the outer variable. What a macro invocation does with its tokens is not seen, except
//! that `break`, `continue` and `return` inside one count. A mutable borrow counts as an assignment, because the callee may write through it.

use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Expr, Pat, Stmt};

/// The outer variables that something assigns, in order of first assignment; each ident is the author's token there.
#[derive(Default)]
struct Assigned {
    scopes: Vec<Vec<String>>,
    found: Vec<Ident>,
    /// When set, only assignments inside a construct that will be rewritten count; the number of constructs we are in.
    constructs: Option<usize>,
}

/// The outer variables that the block assigns.
pub(crate) fn assigned_in_block(block: &syn::Block) -> Vec<Ident> {
    let mut finder = Assigned::default();
    finder.visit_block(block);
    finder.found
}

/// The outer variables that the expression assigns.
pub(crate) fn assigned_in_expr(expr: &Expr) -> Vec<Ident> {
    let mut finder = Assigned::default();
    finder.scoped(|f| f.visit_expr(expr));
    finder.found
}

/// The outer variables that a body assigns that is run under the bindings of `pat`.
pub(crate) fn assigned_under(pat: &Pat, body: &syn::Block) -> Vec<Ident> {
    let mut finder = Assigned::default();
    finder.scoped(|f| {
        f.declare(pat);
        f.visit_block(body);
    });
    finder.found
}

/// The outer variables that the statement assigns inside control flow that will become builder calls.
pub(crate) fn assigned_in_control_flow(stmt: &Stmt) -> Vec<Ident> {
    let mut finder = Assigned { constructs: Some(0), ..Assigned::default() };
    finder.scoped(|f| f.visit_stmt(stmt));
    finder.found
}

/// Appends the names of `more` that are not yet in `names`.
pub(crate) fn merge(names: &mut Vec<Ident>, more: Vec<Ident>) {
    for name in more {
        if !names.contains(&name) {
            names.push(name);
        }
    }
}

impl Assigned {
    fn scoped(&mut self, f: impl FnOnce(&mut Self)) {
        self.scopes.push(Vec::new());
        f(self);
        self.scopes.pop();
    }

    fn construct(&mut self, rewritten: bool, f: impl FnOnce(&mut Self)) {
        let before = self.constructs;
        if rewritten {
            self.constructs = before.map(|n| n + 1);
        }
        f(self);
        self.constructs = before;
    }

    fn declare(&mut self, pat: &Pat) {
        let mut names = Names(Vec::new());
        names.visit_pat(pat);
        if let Some(scope) = self.scopes.last_mut() {
            scope.extend(names.0);
        }
    }

    fn record(&mut self, name: &Ident) {
        if self.constructs == Some(0) || self.scopes.iter().flatten().any(|n| name == n) {
            return;
        }
        merge(&mut self.found, vec![name.clone()]);
    }

    /// Records the variables that assigning to `place` writes.
    fn record_place(&mut self, place: &Expr) {
        match place {
            Expr::Path(p) => {
                if let Some(name) = p.path.get_ident() {
                    self.record(name);
                }
            }
            Expr::Paren(p) => self.record_place(&p.expr),
            Expr::Group(g) => self.record_place(&g.expr),
            Expr::Tuple(t) => t.elems.iter().for_each(|e| self.record_place(e)),
            Expr::Array(a) => a.elems.iter().for_each(|e| self.record_place(e)),
            Expr::Call(c) => c.args.iter().for_each(|e| self.record_place(e)),
            Expr::Struct(s) => s.fields.iter().for_each(|f| self.record_place(&f.expr)),
            Expr::Field(f) => self.record_place(&f.base),
            Expr::Index(i) => self.record_place(&i.expr),
            // Writing through a reference does not assign the reference, and nothing else is a place.
            _ => {}
        }
    }
}

impl<'ast> Visit<'ast> for Assigned {
    fn visit_block(&mut self, block: &'ast syn::Block) {
        self.scoped(|f| visit::visit_block(f, block));
    }

    fn visit_local(&mut self, local: &'ast syn::Local) {
        if let Some(init) = &local.init {
            visit::visit_local_init(self, init);
        }
        self.declare(&local.pat);
    }

    fn visit_expr_closure(&mut self, closure: &'ast syn::ExprClosure) {
        self.scoped(|f| {
            closure.inputs.iter().for_each(|p| f.declare(p));
            f.visit_expr(&closure.body);
        });
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        self.scoped(|f| {
            f.declare(&arm.pat);
            if let Some((_, guard)) = &arm.guard {
                f.visit_expr(guard);
            }
            f.visit_expr(&arm.body);
        });
    }

    fn visit_expr_for_loop(&mut self, e: &'ast syn::ExprForLoop) {
        self.visit_expr(&e.expr);
        let rewritten = e.label.is_none() && !block_escapes(&e.body);
        self.construct(rewritten, |f| {
            f.scoped(|f| {
                f.declare(&e.pat);
                f.visit_block(&e.body);
            });
        });
    }

    fn visit_expr_while(&mut self, e: &'ast syn::ExprWhile) {
        let rewritten = e.label.is_none() && !binds(&e.cond) && !block_escapes(&e.body);
        self.construct(rewritten, |f| {
            f.scoped(|f| {
                f.visit_expr(&e.cond);
                f.visit_block(&e.body);
            });
        });
    }

    fn visit_expr_if(&mut self, e: &'ast syn::ExprIf) {
        self.construct(!if_stays_plain(e), |f| {
            f.scoped(|f| {
                f.visit_expr(&e.cond);
                f.visit_block(&e.then_branch);
            });
            if let Some((_, other)) = &e.else_branch {
                f.visit_expr(other);
            }
        });
    }

    fn visit_expr_let(&mut self, e: &'ast syn::ExprLet) {
        self.visit_expr(&e.expr);
        self.declare(&e.pat);
    }

    fn visit_expr_assign(&mut self, e: &'ast syn::ExprAssign) {
        self.visit_expr(&e.right);
        self.record_place(&e.left);
        self.visit_expr(&e.left);
    }

    fn visit_expr_binary(&mut self, e: &'ast syn::ExprBinary) {
        if is_compound_assignment(&e.op) {
            self.record_place(&e.left);
        }
        visit::visit_expr_binary(self, e);
    }

    fn visit_expr_reference(&mut self, e: &'ast syn::ExprReference) {
        if e.mutability.is_some() {
            self.record_place(&e.expr);
        }
        visit::visit_expr_reference(self, e);
    }

    fn visit_item(&mut self, _: &'ast syn::Item) {}
}

/// The names that a pattern binds. A capitalised bare name is a constant or a variant, as the naming lints have it.
struct Names(Vec<String>);

impl<'ast> Visit<'ast> for Names {
    fn visit_pat_ident(&mut self, p: &'ast syn::PatIdent) {
        let name = p.ident.to_string();
        if !(p.subpat.is_none() && name.starts_with(char::is_uppercase)) {
            self.0.push(name);
        }
        visit::visit_pat_ident(self, p);
    }

    fn visit_expr(&mut self, _: &'ast Expr) {}
}

/// Whether `op` is `+=` or one of its kin.
pub(crate) const fn is_compound_assignment(op: &syn::BinOp) -> bool {
    use syn::BinOp as B;
    matches!(
        op,
        B::AddAssign(_)
            | B::SubAssign(_)
            | B::MulAssign(_)
            | B::DivAssign(_)
            | B::RemAssign(_)
            | B::BitXorAssign(_)
            | B::BitAndAssign(_)
            | B::BitOrAssign(_)
            | B::ShlAssign(_)
            | B::ShrAssign(_)
    )
}

/// Whether the condition binds names: `if let`, `while let` or a chain with `let` in it.
pub(crate) fn binds(cond: &Expr) -> bool {
    match cond {
        Expr::Let(_) => true,
        Expr::Binary(b) if matches!(b.op, syn::BinOp::And(_)) => binds(&b.left) || binds(&b.right),
        _ => false,
    }
}

/// Whether an `if` stays plain Rust: it binds names, or a branch may leave it.
pub(crate) fn if_stays_plain(e: &syn::ExprIf) -> bool {
    binds(&e.cond)
        || expr_escapes(&e.cond)
        || block_escapes(&e.then_branch)
        || e.else_branch.as_ref().is_some_and(|(_, other)| expr_escapes(other))
}

/// Whether `break`, `continue`, `return` or `?` may take control out of the block.
pub(crate) fn block_escapes(block: &syn::Block) -> bool {
    let mut finder = Escapes::default();
    finder.visit_block(block);
    finder.found
}

/// Whether `break`, `continue`, `return` or `?` may take control out of the expression.
pub(crate) fn expr_escapes(expr: &Expr) -> bool {
    let mut finder = Escapes::default();
    finder.visit_expr(expr);
    finder.found
}

#[derive(Default)]
struct Escapes {
    loops: usize,
    labels: Vec<Ident>,
    found: bool,
}

impl Escapes {
    fn jump(&mut self, label: Option<&syn::Lifetime>) {
        self.found |= label.map_or(self.loops == 0, |l| !self.labels.contains(&l.ident));
    }

    fn labelled(&mut self, label: Option<&syn::Label>, f: impl FnOnce(&mut Self)) {
        self.labels.extend(label.map(|l| l.name.ident.clone()));
        f(self);
        if label.is_some() {
            self.labels.pop();
        }
    }

    fn in_loop(&mut self, label: Option<&syn::Label>, body: &syn::Block) {
        self.labelled(label, |f| {
            f.loops += 1;
            f.visit_block(body);
            f.loops -= 1;
        });
    }
}

impl<'ast> Visit<'ast> for Escapes {
    fn visit_expr_break(&mut self, e: &'ast syn::ExprBreak) {
        self.jump(e.label.as_ref());
        visit::visit_expr_break(self, e);
    }

    fn visit_expr_continue(&mut self, e: &'ast syn::ExprContinue) {
        self.jump(e.label.as_ref());
    }

    fn visit_expr_return(&mut self, _: &'ast syn::ExprReturn) {
        self.found = true;
    }

    fn visit_expr_try(&mut self, _: &'ast syn::ExprTry) {
        self.found = true;
    }

    fn visit_expr_for_loop(&mut self, e: &'ast syn::ExprForLoop) {
        self.visit_expr(&e.expr);
        self.in_loop(e.label.as_ref(), &e.body);
    }

    fn visit_expr_while(&mut self, e: &'ast syn::ExprWhile) {
        self.visit_expr(&e.cond);
        self.in_loop(e.label.as_ref(), &e.body);
    }

    fn visit_expr_loop(&mut self, e: &'ast syn::ExprLoop) {
        self.in_loop(e.label.as_ref(), &e.body);
    }

    fn visit_expr_block(&mut self, e: &'ast syn::ExprBlock) {
        self.labelled(e.label.as_ref(), |f| f.visit_block(&e.block));
    }

    fn visit_macro(&mut self, m: &'ast syn::Macro) {
        self.found |= mentions_jump(m.tokens.clone());
    }

    fn visit_expr_closure(&mut self, _: &'ast syn::ExprClosure) {}

    fn visit_expr_async(&mut self, _: &'ast syn::ExprAsync) {}

    fn visit_item(&mut self, _: &'ast syn::Item) {}
}

fn mentions_jump(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|t| match t {
        TokenTree::Ident(i) => i == "break" || i == "continue" || i == "return",
        TokenTree::Group(g) => mentions_jump(g.stream()),
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assigned(body: &str) -> Vec<String> {
        let block: syn::Block = syn::parse_str(body).expect("the body should parse");
        assigned_in_block(&block).iter().map(ToString::to_string).collect()
    }

    fn escapes(body: &str) -> bool {
        block_escapes(&syn::parse_str(body).expect("the body should parse"))
    }

    #[test]
    fn order_is_that_of_first_assignment() {
        assert_eq!(assigned("{ b = 1; a += b; b -= 2; }"), ["b", "a"]);
        assert_eq!(
            assigned("{ (x, [y, _]) = f(); p.0 = 1; q[i] = 2; *r = 3; s(&mut t); &u; }"),
            ["x", "y", "p", "q", "t"]
        );
    }

    #[test]
    fn shadowed_names_do_not_count() {
        assert_eq!(assigned("{ let a = a + 1; a = 2; }"), [""; 0]);
        assert_eq!(assigned("{ a = 1; let mut a = a; a = 2; { let b = 1; b = 2; } b = 3; }"), ["a", "b"]);
        assert_eq!(
            assigned(
                "{ for a in x { a = 1; } while let Some(b) = y { b = 1; } if let c = 1 { c = 2 } else { c = 3 } }"
            ),
            ["c"]
        );
        assert_eq!(
            assigned("{ let f = |a| { a = 1; b = 2; }; match x { Some(c) => c = 1, None => d = 2 } }"),
            ["b", "d"]
        );
        assert_eq!(
            assigned(
                "{ fn g() { a = 1; } let S { x, y: Some(z), .. } = s else { w = 1; return }; x = 1; z = 2; }"
            ),
            ["w"]
        );
    }

    #[test]
    fn nested_control_flow_counts() {
        assert_eq!(assigned("{ for i in r { if c { a = 1 } else { while d { b += 1 } } } }"), ["a", "b"]);
    }

    #[test]
    fn jumps_are_bound_by_their_own_loops() {
        assert!(escapes("{ if a { break } }"));
        assert!(escapes("{ for i in r { break 'out } }"));
        assert!(escapes("{ f()?; }"));
        assert!(escapes("{ bail!({ return }) }"));
        assert!(!escapes("{ for i in r { if a { continue } } 'b: { break 'b } }"));
        assert!(!escapes("{ let f = |x| { return x; }; fn g() { return } loop { break } }"));
    }
}
