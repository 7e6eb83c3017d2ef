//! What a report says became of the images: which are at their destination, and with which digest.

use std::collections::{BTreeMap, HashMap};

use crate::config::RecordedImage;
use crate::reference::{Identifier, Reference, Repository};

/// The images of a report, by source.
#[derive(Debug)]
pub struct Outcomes {
    by_source: HashMap<Repository, BTreeMap<Identifier, Vec<RecordedImage>>>,
}

impl Outcomes {
    pub fn new(images: Vec<RecordedImage>) -> Self {
        let mut by_source = HashMap::<_, BTreeMap<_, Vec<_>>>::new();
        for image in images {
            let of_repository = by_source.entry(image.source.repository.clone()).or_default();
            of_repository.entry(image.source.identifier.clone()).or_default().push(image);
        }
        Self { by_source }
    }

    /// All images that came from a repository.
    pub fn from(&self, source: &Repository) -> impl Iterator<Item = &RecordedImage> {
        self.by_source.get(source).into_iter().flat_map(BTreeMap::values).flatten()
    }

    /// What became of one image at one place. The shards of a run may each have an opinion: the good one counts.
    pub fn of(&self, source: &Reference, destination: &Reference) -> Option<&RecordedImage> {
        let of_source = self.by_source.get(&source.repository).and_then(|images| images.get(&source.identifier));
        let outcomes = || of_source.into_iter().flatten().filter(|outcome| outcome.destination == *destination);
        outcomes().find(|outcome| outcome.is_there()).or_else(|| outcomes().next())
    }
}
