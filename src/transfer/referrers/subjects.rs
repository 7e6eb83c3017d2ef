//! Whose referrers are looked for, and where that ends: a source can tell of more than anybody ever wrote.

use std::collections::{HashSet, VecDeque};

use crate::digest::Digest;
use crate::event::{Category, Failure};
use crate::reference::Repository;
use crate::registry::{Descriptor, Referrer};

/// As many manifests are looked at for one image, and brought of one list. Each of these may have referrers in turn, which
/// a source can invent without end; a real image has some dozens.
const MOST: usize = 10_000;

/// A manifest to which others may refer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::transfer) struct Subject {
    pub digest: Digest,
    /// Whether it names others.
    pub is_index: bool,
}

impl From<&Descriptor> for Subject {
    fn from(child: &Descriptor) -> Self {
        Self { digest: child.digest.clone(), is_index: child.is_index() }
    }
}

impl From<&Referrer> for Subject {
    fn from(referrer: &Referrer) -> Self {
        Self { digest: referrer.digest.clone(), is_index: referrer.is_index() }
    }
}

/// The manifests whose referrers are looked for: an image, and whatever one of them names or is referred to by.
pub(in crate::transfer) struct Subjects {
    source: Repository,
    seen: HashSet<Digest>,
    open: VecDeque<Subject>,
}

impl Subjects {
    /// Beginning with this one, of `source`, which may be an index.
    pub fn of(root: &Digest, source: &Repository) -> Self {
        let open = VecDeque::from([Subject { digest: root.clone(), is_index: true }]);
        Self { source: source.clone(), seen: HashSet::from([root.clone()]), open }
    }

    pub fn next(&mut self) -> Option<Subject> {
        self.open.pop_front()
    }

    /// Adds what belongs to one of them.
    pub fn add(&mut self, found: &[Subject]) -> Result<(), Failure> {
        for subject in found {
            if self.seen.insert(subject.digest.clone()) {
                self.open.push_back(subject.clone());
            }
        }
        check_number(self.seen.len(), &self.source)
    }

    /// What the index names that was read. It was brought; but what the source has lost since cannot be read any more.
    pub fn unless_gone(
        &self,
        index: &Digest,
        children: Result<Vec<Subject>, Failure>,
    ) -> Result<Vec<Subject>, Failure> {
        match children {
            Err(failure) if failure.category == Category::NotFound => {
                let source = &self.source;
                tracing::warn!(%source, %index, "the source has lost an index: what refers to its parts is not looked for");
                Ok(Vec::new())
            }
            children => children,
        }
    }
}

/// Fails if so many are not brought.
pub(super) fn check_number(manifests: usize, source: &Repository) -> Result<(), Failure> {
    if manifests <= MOST {
        return Ok(());
    }
    let reason = format!(
        "more than {MOST} manifests refer to the image or to what refers to it, and so many are not brought; without \
         --referrers the image is copied alone"
    );
    Err(Failure::for_good(Category::Corrupt, Some(source.registry()), reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_invents_referrers_without_end_comes_to_one() {
        for of_each in [1, 20] {
            let source = "s.example.com/a".parse().unwrap();
            let mut subjects = Subjects::of(&Digest::of(b"image"), &source);
            let mut asked = 0;
            let failure = loop {
                let subject = subjects.next().unwrap();
                asked += 1;
                let invented = |n| Digest::of(format!("{} {n}", subject.digest).as_bytes());
                let invented: Vec<Subject> =
                    (0..of_each).map(|n| Subject { digest: invented(n), is_index: false }).collect();
                // What was seen counts once.
                match subjects.add(&invented) {
                    Ok(()) => subjects.add(&invented).unwrap(),
                    Err(failure) => break failure,
                }
            };
            assert_eq!(asked, MOST / of_each);
            assert!(failure.reason.contains("more than 10000") && !failure.is_tried_again(false), "{failure}");
        }
    }
}
