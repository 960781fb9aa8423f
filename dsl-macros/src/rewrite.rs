//! The body: control flow, comparisons, logical operators, dimension names and index sugar become calls of the language.
//!
//! Invariant: every emitted call takes the span of the author's token that it stands for (`for`, `if`, `<`, `BM`, `[`), so
//! that rustc's errors and `#[track_caller]` locations fall on the author's line. Which branch of the language a call takes
//! (plain Rust on host values, or tracing) is decided by types, not here.
//!
//! ```text
//! for p in it { s; a = e; }    { (a,) = __tw::for_loop(it, (a,), |p, (mut a,)| { { s; a = e; } (a,) }); }
//! while c { a = e; }           { (a,) = __tw::while_loop((a,), |v| { let (a,) = v.clone(); c }, |(mut a,)| { .. (a,) }); }
//! if c { x } else { y }        { __tw::if_else(c, (), |()| ({ x }, ()), |()| ({ y }, ())).0 }
//! a < b    a && b    BM        __tw::cmp_lt(&a, &b)    __tw::logic_and(a, || b)    __tw::dim::<BM>()
//! t[(.., None)]                t.expand_dims::<1>()
//! ```

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{BinOp, Block, Expr, Stmt, Token};

use crate::errors::Errors;
use crate::scope;

/// Rewrites the body of a function whose dimension parameters are `dims`; mistakes go to `errors`.
pub(crate) fn rewrite_body(block: &mut Block, dims: Vec<Ident>, errors: &mut Errors) {
    Rewriter { dims, errors }.visit_block_mut(block);
}

struct Rewriter<'a> {
    dims: Vec<Ident>,
    errors: &'a mut Errors,
}

impl VisitMut for Rewriter<'_> {
    fn visit_block_mut(&mut self, block: &mut Block) {
        self.check_deferred(block);
        visit_mut::visit_block_mut(self, block);
    }

    fn visit_expr_mut(&mut self, expr: &mut Expr) {
        let taken = std::mem::replace(expr, Expr::Verbatim(TokenStream::new()));
        *expr = match taken {
            Expr::ForLoop(e) => self.for_loop(e),
            Expr::While(e) => self.while_loop(e),
            Expr::If(e) => self.if_else(e),
            Expr::Binary(e) => self.binary(e),
            Expr::Index(e) => self.index(e),
            mut other => {
                if let Some(call) = bare_name(&other).and_then(|name| dim_name(&self.dims, name)) {
                    verbatim(call)
                } else {
                    visit_mut::visit_expr_mut(self, &mut other);
                    other
                }
            }
        };
    }

    fn visit_arm_mut(&mut self, arm: &mut syn::Arm) {
        visit_mut::visit_arm_mut(self, arm);
        if let Some((_, guard)) = &mut arm.guard
            && !scope::binds(guard)
        {
            **guard = host_bool(guard);
        }
    }

    /// Arguments of expression macros (`assert!`, `format!`, `vec!`) run on the host; only dimension names are replaced.
    fn visit_macro_mut(&mut self, mac: &mut syn::Macro) {
        if let Ok(mut args) = mac.parse_body_with(Punctuated::<Expr, Token![,]>::parse_terminated) {
            let replacement = |name: &Ident| dim_name(&self.dims, name);
            let mut changed = false;
            args.iter_mut().for_each(|e| changed |= replace_names(e, &replacement));
            if changed {
                mac.tokens = args.to_token_stream();
            }
        }
    }

    fn visit_item_mut(&mut self, _: &mut syn::Item) {}
}

impl Rewriter<'_> {
    fn for_loop(&mut self, mut e: syn::ExprForLoop) -> Expr {
        let span = e.for_token.span;
        if e.label.is_some() || scope::block_escapes(&e.body) {
            visit_mut::visit_expr_for_loop_mut(self, &mut e);
            let iter = &e.expr;
            *e.expr = verbatim(quote_spanned!(iter.span()=> __tw::host_iter(#iter)));
            return Expr::ForLoop(e);
        }
        let carried = Carried(scope::assigned_under(&e.pat, &e.body));
        visit_mut::visit_expr_for_loop_mut(self, &mut e);
        let (pat, iter, body) = (&e.pat, &e.expr, &e.body);
        let (values, inside) = (carried.tuple(span), carried.pattern(span, &carried.0));
        let (assign, run) = (carried.assign(span), carried.run(span, body));
        let call = quote_spanned!(span=> #assign __tw::for_loop(#iter, #values, |#pat, #inside| #run));
        statement_block(e.attrs, span, call, &carried)
    }

    fn while_loop(&mut self, mut e: syn::ExprWhile) -> Expr {
        let span = e.while_token.span;
        if e.label.is_some()
            || scope::binds(&e.cond)
            || scope::expr_escapes(&e.cond)
            || scope::block_escapes(&e.body)
        {
            let bare = scope::binds(&e.cond);
            visit_mut::visit_expr_while_mut(self, &mut e);
            if !bare {
                *e.cond = host_bool(&e.cond);
            }
            return Expr::While(e);
        }
        let mut names = scope::assigned_in_expr(&e.cond);
        scope::merge(&mut names, scope::assigned_in_block(&e.body));
        let carried = Carried(names);
        visit_mut::visit_expr_while_mut(self, &mut e);
        let (cond, body) = (&e.cond, &e.body);
        let (values, inside) = (carried.tuple(span), carried.pattern(span, &carried.0));
        let (outside, assign, run) =
            (carried.pattern(span, &[]), carried.assign(span), carried.run(span, body));
        let seen = Ident::new("__carried", Span::mixed_site().located_at(span));
        let call = quote_spanned! {span=>
            #assign __tw::while_loop(
                #values,
                |#seen| {
                    #[allow(unused_variables, reason = "the condition need not use every variable that the loop changes")]
                    let #outside = ::core::clone::Clone::clone(#seen);
                    #cond
                },
                |#inside| #run,
            )
        };
        statement_block(e.attrs, span, call, &carried)
    }

    fn if_else(&mut self, mut e: syn::ExprIf) -> Expr {
        let span = e.if_token.span;
        if scope::if_stays_plain(&e) {
            let bare = scope::binds(&e.cond);
            self.visit_expr_mut(&mut e.cond);
            self.visit_block_mut(&mut e.then_branch);
            if !bare {
                *e.cond = host_bool(&e.cond);
            }
            if let Some((_, other)) = &mut e.else_branch {
                self.visit_expr_mut(other);
            }
            return Expr::If(e);
        }
        let in_then = scope::assigned_in_block(&e.then_branch);
        let in_else =
            e.else_branch.as_ref().map_or_else(Vec::new, |(_, other)| scope::assigned_in_expr(other));
        let mut names = in_then.clone();
        scope::merge(&mut names, in_else.clone());
        let carried = Carried(names);

        self.visit_expr_mut(&mut e.cond);
        self.visit_block_mut(&mut e.then_branch);
        if let Some((_, other)) = &mut e.else_branch {
            self.visit_expr_mut(other);
        }
        let (cond, then_branch) = (&e.cond, &e.then_branch);
        let else_branch = e
            .else_branch
            .as_ref()
            .map_or_else(|| quote_spanned!(span=> ()), |(_, other)| other.to_token_stream());
        let values = carried.tuple(span);
        let (then_in, else_in) = (carried.pattern(span, &in_then), carried.pattern(span, &in_else));
        let call = quote_spanned! {span=>
            __tw::if_else(#cond, #values, |#then_in| (#then_branch, #values), |#else_in| (#else_branch, #values))
        };
        if carried.0.is_empty() {
            return braces(e.attrs, span, quote_spanned!(span=> #call.0));
        }
        let value = Ident::new("__value", Span::mixed_site().located_at(span));
        let targets = carried.tuple(span);
        braces(e.attrs, span, quote_spanned!(span=> let #value; (#value, #targets) = #call; #value))
    }

    fn binary(&mut self, mut e: syn::ExprBinary) -> Expr {
        let keeps = matches!(e.op, BinOp::And(_) | BinOp::Or(_))
            && (scope::binds(&e.left) || scope::binds(&e.right) || scope::expr_escapes(&e.right));
        visit_mut::visit_expr_binary_mut(self, &mut e);
        let (left, right, span) = (&e.left, &e.right, e.op.span());
        let compare = |name: &str| {
            let (name, left, right) = (Ident::new(name, span), operand(left), operand(right));
            quote_spanned!(span=> __tw::#name(&#left, &#right))
        };
        verbatim(match e.op {
            BinOp::Eq(_) => compare("cmp_eq"),
            BinOp::Ne(_) => compare("cmp_ne"),
            BinOp::Lt(_) => compare("cmp_lt"),
            BinOp::Le(_) => compare("cmp_le"),
            BinOp::Gt(_) => compare("cmp_gt"),
            BinOp::Ge(_) => compare("cmp_ge"),
            BinOp::And(_) if !keeps => quote_spanned!(span=> __tw::logic_and(#left, || #right)),
            BinOp::Or(_) if !keeps => quote_spanned!(span=> __tw::logic_or(#left, || #right)),
            _ => return Expr::Binary(e),
        })
    }

    fn index(&mut self, mut e: syn::ExprIndex) -> Expr {
        visit_mut::visit_expr_mut(self, &mut e.expr);
        let Some(axes) = inserted_axes(&e.index) else {
            self.visit_expr_mut(&mut e.index);
            return Expr::Index(e);
        };
        let span = e.bracket_token.span.open();
        let mut tokens = e.expr.to_token_stream();
        for axis in axes {
            let axis = proc_macro2::Literal::usize_unsuffixed(axis);
            tokens.extend(quote_spanned!(span=> .expand_dims::<#axis>()));
        }
        verbatim(tokens)
    }

    /// `let x;` with the first assignment inside control flow: the branch or loop would have to carry a value that is not there.
    fn check_deferred(&mut self, block: &Block) {
        for (i, stmt) in block.stmts.iter().enumerate() {
            let Stmt::Local(local @ syn::Local { init: None, .. }) = stmt else { continue };
            let Some(name) = bound_name(&local.pat) else { continue };
            for later in &block.stmts[i + 1..] {
                if assigns_directly(later, name) {
                    break;
                }
                if let Some(at) = scope::assigned_in_control_flow(later).iter().find(|n| *n == name) {
                    self.errors.at(
                        at.span(),
                        format!(
                            "`{name}` has no value before this loop or branch; give it one where it is declared, \
                             `let mut {name} = ...;`, or make the branch its initial value, `let {name} = if ...`"
                        ),
                    );
                    break;
                }
            }
        }
    }
}

/// The variables that a loop or branch changes, each as the author's token at the first assignment.
struct Carried(Vec<Ident>);

impl Carried {
    /// `(a, b,)`, as a value or as the target of an assignment.
    fn tuple(&self, span: Span) -> TokenStream {
        let names = &self.0;
        quote_spanned!(span=> (#(#names,)*))
    }

    /// `(mut a, b,)`, those in `assigned` mutable.
    fn pattern(&self, span: Span, assigned: &[Ident]) -> TokenStream {
        let names = self.0.iter().map(|n| {
            let mutable = assigned.contains(n).then(|| quote_spanned!(n.span()=> mut));
            quote!(#mutable #n)
        });
        quote_spanned!(span=> (#(#names,)*))
    }

    /// The body of the closure that runs a loop's body once and hands the variables on.
    fn run(&self, span: Span, body: &Block) -> TokenStream {
        let values = self.tuple(span);
        if self.0.is_empty() { body.to_token_stream() } else { quote_spanned!(span=> { #body #values }) }
    }

    /// `(a, b,) =`, or nothing when nothing is carried.
    fn assign(&self, span: Span) -> Option<TokenStream> {
        let tuple = self.tuple(span);
        (!self.0.is_empty()).then(|| quote_spanned!(span=> #tuple =))
    }
}

/// Replaces the bare names in `expr` for which there is a replacement; whether there was one.
pub(crate) fn replace_names(expr: &mut Expr, replacement: &dyn Fn(&Ident) -> Option<TokenStream>) -> bool {
    struct Replacer<'a> {
        replacement: &'a dyn Fn(&Ident) -> Option<TokenStream>,
        changed: bool,
    }
    impl VisitMut for Replacer<'_> {
        fn visit_expr_mut(&mut self, expr: &mut Expr) {
            if let Some(tokens) = bare_name(expr).and_then(self.replacement) {
                *expr = verbatim(tokens);
                self.changed = true;
            } else {
                visit_mut::visit_expr_mut(self, expr);
            }
        }
    }
    let mut replacer = Replacer { replacement, changed: false };
    replacer.visit_expr_mut(expr);
    replacer.changed
}

fn bare_name(expr: &Expr) -> Option<&Ident> {
    match expr {
        Expr::Path(p) if p.qself.is_none() => p.path.get_ident(),
        _ => None,
    }
}

fn dim_name(dims: &[Ident], name: &Ident) -> Option<TokenStream> {
    dims.contains(name).then(|| quote_spanned!(name.span()=> __tw::dim::<#name>()))
}

fn host_bool(cond: &Expr) -> Expr {
    verbatim(quote_spanned!(cond.span()=> __tw::host_bool(#cond)))
}

/// Positions of `None` in an index such as `(.., None)`, ascending; nothing when it is an ordinary index.
fn inserted_axes(index: &Expr) -> Option<Vec<usize>> {
    let Expr::Tuple(t) = index else { return None };
    let mut axes = Vec::new();
    for (i, e) in t.elems.iter().enumerate() {
        match e {
            Expr::Path(p) if p.path.is_ident("None") => axes.push(i),
            Expr::Range(r) if r.start.is_none() && r.end.is_none() => {}
            _ => return None,
        }
    }
    (!axes.is_empty()).then_some(axes)
}

fn bound_name(pat: &syn::Pat) -> Option<&Ident> {
    match pat {
        syn::Pat::Ident(p) => Some(&p.ident),
        syn::Pat::Type(p) => bound_name(&p.pat),
        _ => None,
    }
}

fn assigns_directly(stmt: &Stmt, name: &Ident) -> bool {
    matches!(stmt, Stmt::Expr(Expr::Assign(a), _) if matches!(&*a.left, Expr::Path(p) if p.path.is_ident(name)))
}

/// An expression as the operand of a prefix operator: in parentheses unless it binds tighter anyway.
fn operand(expr: &Expr) -> TokenStream {
    let loose = matches!(
        expr,
        Expr::Binary(_)
            | Expr::Cast(_)
            | Expr::Range(_)
            | Expr::Closure(_)
            | Expr::Assign(_)
            | Expr::Return(_)
    );
    if loose {
        let mut tokens = TokenStream::new();
        let paren = syn::token::Paren(Span::mixed_site().located_at(expr.span()));
        paren.surround(&mut tokens, |inside| expr.to_tokens(inside));
        tokens
    } else {
        expr.to_token_stream()
    }
}

fn verbatim(tokens: TokenStream) -> Expr {
    Expr::Verbatim(tokens)
}

/// The call of a loop, in braces and with the type `()`, so that it may stand wherever the loop stood.
fn statement_block(attrs: Vec<syn::Attribute>, span: Span, call: TokenStream, carried: &Carried) -> Expr {
    if carried.0.is_empty() {
        braces(attrs, span, call)
    } else {
        braces(attrs, span, quote_spanned!(span=> #call;))
    }
}

/// A block of the given tokens. The braces are the macro's, so that no lint asks the author to remove them.
fn braces(attrs: Vec<syn::Attribute>, span: Span, tokens: TokenStream) -> Expr {
    let brace_token = syn::token::Brace(Span::mixed_site().located_at(span));
    let block = Block { brace_token, stmts: vec![Stmt::Expr(verbatim(tokens), None)] };
    Expr::Block(syn::ExprBlock { attrs, label: None, block })
}
