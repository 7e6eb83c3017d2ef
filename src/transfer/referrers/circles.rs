//! Whose referrers are looked for, and how far that goes: a source can tell of more than anybody ever wrote.

use std::collections::{HashSet, VecDeque};

use crate::digest::Digest;
use crate::event::{Category, Change, Failure};
use crate::reference::Repository;
use crate::transfer::image::MAX_DEPTH;

/// As much is brought for one image, and of one list. Each of these may have referrers in turn, which a source can invent
/// without end; a real image has some dozens.
const MOST: usize = 10_000;

/// The manifests whose referrers are looked for: those of the image, then what refers to them, circle by circle.
pub(in crate::transfer) struct Circles {
    seen: HashSet<Digest>,
    open: VecDeque<(Digest, usize)>,
    /// Of the manifest that was looked at last.
    depth: usize,
    /// The manifests of the image itself.
    own: usize,
    /// Whether there was more than is looked for.
    pub are_cut: bool,
}

impl Circles {
    /// Around these manifests, but for those that were made on the way: nobody can have referred to them.
    pub fn around(mut subjects: Vec<Digest>, changes: &[Change]) -> Self {
        subjects.retain(|subject| !changes.iter().any(|change| change.to == *subject));
        let seen: HashSet<Digest> = subjects.iter().cloned().collect();
        let open = subjects.into_iter().map(|subject| (subject, 0)).collect();
        Self { own: seen.len(), seen, open, depth: 0, are_cut: false }
    }

    pub fn next(&mut self) -> Option<Digest> {
        let (subject, depth) = self.open.pop_front()?;
        self.depth = depth;
        Some(subject)
    }

    /// What refers to the last one at the source.
    pub fn add(&mut self, referrers: &[Digest], source: &Repository) -> Result<(), Failure> {
        for referrer in referrers {
            if !self.seen.insert(referrer.clone()) {
                continue;
            }
            if self.depth + 1 == MAX_DEPTH {
                self.are_cut = true;
            } else {
                self.open.push_back((referrer.clone(), self.depth + 1));
            }
        }
        check_number(self.seen.len() - self.own, source)
    }
}

/// Fails if so many are not brought.
pub(in crate::transfer) fn check_number(referrers: usize, source: &Repository) -> Result<(), Failure> {
    if referrers <= MOST {
        return Ok(());
    }
    let reason = format!(
        "more than {MOST} manifests refer to the image or to what refers to it, and so many are not brought; without \
         --referrers the image is copied alone"
    );
    Err(Failure::for_good(Category::Corrupt, Some(source.registry()), reason))
}

/// The digests of a manifest and of all below it. `children_of` tells which a manifest names, and whether they are indexes.
pub(in crate::transfer) async fn all_below<F>(
    root: &Digest,
    children_of: impl Fn(Digest) -> F,
) -> Result<Vec<Digest>, Failure>
where
    F: Future<Output = Result<Vec<(Digest, bool)>, Failure>>,
{
    let mut digests = vec![root.clone()];
    let mut seen = HashSet::from([root.clone()]);
    let mut open = vec![(root.clone(), 0)];
    while let Some((digest, depth)) = open.pop() {
        for (child, is_index) in children_of(digest).await? {
            if !seen.insert(child.clone()) {
                continue;
            }
            digests.push(child.clone());
            if is_index && depth < MAX_DEPTH {
                open.push((child, depth + 1));
            }
        }
    }
    Ok(digests)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_invents_referrers_without_end_comes_to_one() {
        let source: Repository = "s.example.com/a".parse().unwrap();
        let mut circles = Circles::around(vec![Digest::of(b"image"), Digest::of(b"child")], &[]);
        let mut asked = 0;
        let failure = loop {
            let subject = circles.next().unwrap();
            asked += 1;
            let invented: Vec<Digest> = (0..20).map(|n| Digest::of(format!("{subject} {n}").as_bytes())).collect();
            // What was seen counts once.
            match circles.add(&invented, &source) {
                Ok(()) => circles.add(&invented, &source).unwrap(),
                Err(failure) => break failure,
            }
        };
        assert_eq!(asked, MOST / 20 + 1);
        assert!(failure.reason.contains("more than 10000") && !failure.is_tried_again(false), "{failure}");
    }
}
