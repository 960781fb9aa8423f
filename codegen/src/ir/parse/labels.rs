//! From the spelling of values to dense handles.
//!
//! While parsing, a value (or a variable of the GPU level) is an index into [`Labels`] in order of first mention. [`Labels::resolve`] then gives the numbered
//! ones their rank among the numbers, so a dense text keeps its handles, and the others the handles that follow.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Mutex, PoisonError};

use super::cursor::Label;
use super::{Fault, Parsed};
use crate::diag::Loc;

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Number(u32),
    Name(String),
}

struct Entry<T> {
    name: Option<String>,
    definition: Option<(T, Loc)>,
    first_mention: usize,
}

/// What is known of a value once the text has been read.
pub(crate) struct Resolved<T> {
    pub(crate) ty: T,
    pub(crate) loc: Loc,
    pub(crate) name: Option<String>,
}

/// The values mentioned so far, of types `T`.
pub(crate) struct Labels<T> {
    by_key: BTreeMap<Key, usize>,
    entries: Vec<Entry<T>>,
}

impl<T> Default for Labels<T> {
    fn default() -> Self {
        Self { by_key: BTreeMap::new(), entries: Vec::new() }
    }
}

impl<T: PartialEq + fmt::Display> Labels<T> {
    /// The value that `label` at offset `at` stands for.
    pub(crate) fn mention(&mut self, label: Label, at: usize) -> Parsed<u32> {
        let key = match (label.number, &label.name) {
            (Some(number), _) => Key::Number(number),
            (None, name) => Key::Name(name.clone().unwrap_or_default()),
        };
        let idx = *self.by_key.entry(key).or_insert(self.entries.len());
        if idx == self.entries.len() {
            self.entries.push(Entry { name: None, definition: None, first_mention: at });
        }
        let entry = &mut self.entries[idx];
        match (&entry.name, label.name) {
            (Some(known), Some(name)) if *known != name => {
                let message = format!("this value is called `{known}` elsewhere, not `{name}`");
                return Err(Fault { at, message });
            }
            (None, name @ Some(_)) => entry.name = name,
            (None | Some(_), None) | (Some(_), Some(_)) => {}
        }
        u32::try_from(idx).map_err(|_| Fault { at, message: "there are too many values".to_owned() })
    }

    pub(crate) fn name_of(&self, value: u32) -> Option<String> {
        self.entries[value as usize].name.clone()
    }

    /// The type of a value, if its definition has been read.
    pub(crate) fn type_of(&self, value: u32) -> Option<&T> {
        self.entries[value as usize].definition.as_ref().map(|(ty, _)| ty)
    }

    /// Records a definition. A second one is left to the verifier, unless its type differs from the first.
    pub(crate) fn define(&mut self, value: u32, at: usize, ty: T, loc: Loc) -> Parsed<()> {
        match &mut self.entries[value as usize].definition {
            Some((known, _)) if *known != ty => {
                Err(Fault { at, message: format!("this value is defined twice, as {known} and as {ty}") })
            }
            Some(_) => Ok(()),
            empty @ None => {
                *empty = Some((ty, loc));
                Ok(())
            }
        }
    }

    /// The final handle of every index, and the arena.
    pub(crate) fn resolve(self) -> Parsed<(Vec<u32>, Vec<Resolved<T>>)> {
        let mut numbered = Vec::new();
        let mut named = Vec::new();
        for (key, idx) in self.by_key {
            match key {
                Key::Number(_) => numbered.push(idx),
                Key::Name(_) => named.push(idx),
            }
        }
        named.sort_unstable();
        let order: Vec<usize> = numbered.into_iter().chain(named).collect();
        let mut handles = vec![0; self.entries.len()];
        for (handle, &idx) in (0u32..).zip(&order) {
            handles[idx] = handle;
        }
        let mut entries: Vec<Option<Entry<T>>> = self.entries.into_iter().map(Some).collect();
        let mut values = Vec::with_capacity(order.len());
        for idx in order {
            let entry = entries[idx].take().expect("each index should occur once in the order");
            let Some((ty, loc)) = entry.definition else {
                let message = "this value is defined nowhere".to_owned();
                return Err(Fault { at: entry.first_mention, message });
            };
            values.push(Resolved { ty, loc, name: entry.name });
        }
        Ok((handles, values))
    }
}

/// A file name that lives as long as the program, one copy of each: locations hold what rustc hands out, which does too.
pub(crate) fn intern_file(name: &str) -> &'static str {
    static FILES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut files = FILES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = files.get(name) {
        return known;
    }
    let kept: &'static str = Box::leak(name.to_owned().into_boxed_str());
    files.insert(kept);
    kept
}
