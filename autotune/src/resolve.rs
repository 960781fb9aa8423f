//! From the words of the command line to kernels and buckets, with a suggestion for each word that is not known.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use tilewright_autotune::problem::{Bucket, Family};

use crate::args::Tune;

/// The kernels that `name` means: one, or every one for `all`.
pub(crate) fn families<'a>(all: &'a [Box<dyn Family>], name: &str) -> Result<Vec<&'a dyn Family>> {
    if name == "all" {
        return Ok(all.iter().map(AsRef::as_ref).collect());
    }
    let found: Vec<&dyn Family> =
        all.iter().map(AsRef::as_ref).filter(|f| f.subject().kernel == name).collect();
    if found.is_empty() {
        let names: Vec<String> = all.iter().map(|f| f.subject().kernel.to_owned()).collect();
        bail!("unknown kernel `{name}`; {}", suggest(name, &names));
    }
    Ok(found)
}

/// The buckets of one kernel that the command asks for.
pub(crate) fn buckets(family: &dyn Family, tune: &Tune) -> Result<Vec<Bucket>> {
    let kernel = family.subject().kernel;
    let dtypes = family.dtypes();
    if let Some(dtype) = &tune.dtype
        && !dtypes.contains(dtype)
    {
        bail!("kernel `{kernel}` has no dtype `{dtype}`; {}", suggest(dtype, &dtypes));
    }
    let options = options(family, &tune.options)?;
    if let Some(extents) = &tune.shape {
        check_extents(family, extents)?;
        let Some(dtype) = tune.dtype.clone().or_else(|| dtypes.first().cloned()) else {
            bail!("kernel `{kernel}` declares no dtype");
        };
        let defaults =
            family.options().into_iter().filter_map(|(name, values)| Some((name, values.first()?.clone())));
        let mut all: BTreeMap<String, String> = defaults.collect();
        all.extend(options);
        return Ok(vec![Bucket { dtype, options: all, extents: extents.clone() }]);
    }
    let wanted = |b: &Bucket| {
        tune.dtype.as_ref().is_none_or(|dtype| *dtype == b.dtype)
            && options.iter().all(|(name, value)| b.options.get(name) == Some(value))
    };
    let found: Vec<Bucket> = family.buckets().into_iter().filter(wanted).collect();
    if found.is_empty() {
        let example: Vec<String> = family.extents().iter().map(|name| format!("{name}=N")).collect();
        bail!("kernel `{kernel}` lists no bucket of this kind; give one with --shape {}", example.join(","));
    }
    Ok(found)
}

fn check_extents(family: &dyn Family, given: &BTreeMap<String, i64>) -> Result<()> {
    let kernel = family.subject().kernel;
    let names = family.extents();
    if let Some(unknown) = given.keys().find(|name| !names.contains(name)) {
        bail!("kernel `{kernel}` has no extent `{unknown}`; {}", suggest(unknown, &names));
    }
    let missing: Vec<String> =
        names.iter().filter(|name| !given.contains_key(*name)).map(|name| format!("{name}=N")).collect();
    if !missing.is_empty() {
        bail!("the shape of kernel `{kernel}` needs {} more: add {}", missing.len(), missing.join(","));
    }
    Ok(())
}

fn options(family: &dyn Family, given: &[(String, String)]) -> Result<BTreeMap<String, String>> {
    let kernel = family.subject().kernel;
    let known = family.options();
    let mut chosen = BTreeMap::new();
    for (name, value) in given {
        let Some((_, values)) = known.iter().find(|(known, _)| known == name) else {
            let names: Vec<String> = known.iter().map(|(name, _)| name.clone()).collect();
            bail!("kernel `{kernel}` has no option `{name}`; {}", suggest(name, &names));
        };
        if !values.contains(value) {
            bail!("option `{name}` of kernel `{kernel}` has no value `{value}`; {}", suggest(value, values));
        }
        chosen.insert(name.clone(), value.clone());
    }
    Ok(chosen)
}

/// `did you mean ...?` with the nearest names, else the whole list.
pub(crate) fn suggest(word: &str, names: &[String]) -> String {
    let mut near: Vec<(usize, &String)> = names
        .iter()
        .map(|name| (edit_distance(word, name), name))
        .filter(|(distance, name)| *distance <= name.len().max(word.len()) / 3 + 1 && *distance < word.len())
        .collect();
    near.sort();
    let quoted =
        |names: &[&String]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let best: Vec<&String> = near.iter().take(3).map(|(_, name)| *name).collect();
    if !best.is_empty() {
        return format!("did you mean {}?", quoted(&best));
    }
    if names.is_empty() {
        return "there is none".to_owned();
    }
    format!("there is {}", quoted(&names.iter().collect::<Vec<_>>()))
}

/// Levenshtein distance in characters.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        assert_eq!(edit_distance("matmul", "matmul"), 0);
        assert_eq!(edit_distance("matmull", "matmul"), 1);
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("", "abc"), 3);
    }

    #[test]
    fn near_names_are_suggested_and_far_ones_listed() {
        let names = ["matmul", "softmax"].map(str::to_owned);
        assert_eq!(suggest("matmull", &names), "did you mean `matmul`?");
        assert_eq!(suggest("conv", &names), "there is `matmul`, `softmax`");
        assert_eq!(suggest("x", &[]), "there is none");
    }
}
