//! What a request names once, and what it names several times.

use std::collections::BTreeMap;

/// Splits `items` into those whose key is their own, in their order, and the keys that several have. Which of those
/// is meant nobody can say, so none of them is.
pub(super) fn split<T, K: Ord>(items: Vec<T>, key: impl Fn(&T) -> K) -> (Vec<T>, Vec<K>) {
    let mut counts = BTreeMap::<K, usize>::new();
    items.iter().for_each(|item| *counts.entry(key(item)).or_default() += 1);
    let once = items.into_iter().filter(|item| counts.get(&key(item)) == Some(&1)).collect();
    let several = counts.into_iter().filter(|(_, count)| *count > 1).map(|(key, _)| key);
    (once, several.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_twice_is_told_once() {
        let (once, several) = split(vec!["c", "b", "a", "b", "b", "d"], |name| *name);
        assert_eq!((once, several), (vec!["c", "a", "d"], vec!["b"]));
    }
}
