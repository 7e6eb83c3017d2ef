//! What may be found after a run in which anything went wrong: each image whole, as it was, or named as failed.

use scriptable_registry::Registry;

use super::Outcome;

/// An image that is to be moved: where from, where to, and what the destination's tag named before.
#[derive(Clone, Debug)]
pub struct Moved {
    pub from: (String, String),
    pub to: (String, String),
    pub before: Option<String>,
}

impl Moved {
    pub fn new(from: (&str, &str), to: (&str, &str)) -> Self {
        let owned = |(repository, tag): (&str, &str)| (repository.to_owned(), tag.to_owned());
        Self { from: owned(from), to: owned(to), before: None }
    }

    /// Whether it is at the destination as it is at the source; an error if what is there is neither that nor what was
    /// there before, or is not whole.
    pub fn has_arrived(&self, source: &Registry, destination: &Registry) -> Result<bool, String> {
        let (repository, tag) = &self.to;
        let missing = |found: &str| Err(format!("{repository}:{tag} is {found}"));
        let Some(found) = destination.manifest(repository, tag) else { return Ok(false) };
        let lacking = destination.missing(repository, tag);
        if !lacking.is_empty() {
            return missing(&format!("incomplete: {lacking:?}"));
        }
        let expected = source.manifest(&self.from.0, &self.from.1).ok_or("the source lacks it")?;
        if found == expected {
            return Ok(true);
        }
        match Some(&found.digest) == self.before.as_ref() {
            true => Ok(false),
            false => missing(&format!("{}, neither {} nor {:?}", found.digest, expected.digest, self.before)),
        }
    }
}

/// Says whether everything arrived. An error if anything is incomplete, wrong, or missing without having been named, or
/// if the exit code and the summary tell another story.
pub fn judge(source: &Registry, destination: &Registry, images: &[Moved], outcome: &Outcome) -> Result<bool, String> {
    let failed = outcome.lines("FAILED");
    let mut all = true;
    for image in images {
        if image.has_arrived(source, destination)? {
            continue;
        }
        all = false;
        let ((from, tag), (to, to_tag)) = (&image.from, &image.to);
        let itself = format!("{} -> {}: ", source.reference(from, tag), destination.reference(to, to_tag));
        let rule = format!("\"{}/{from}\" -> ", source.host());
        if !failed.iter().any(|line| line.contains(&itself) || line.contains(&rule)) {
            return Err(format!("{itself}is missing, and not named"));
        }
    }
    if !matches!(outcome.code, Some(0 | 1)) || (outcome.code == Some(0)) != failed.is_empty() {
        return Err(format!("exit code {:?} with {} failures", outcome.code, failed.len()));
    }
    let rules = failed.iter().filter(|line| line.starts_with("FAILED images.json:")).count();
    let end = format!("{} images tasks failed, {rules} tasks generate failed\n", failed.len() - rules);
    match outcome.stdout.ends_with(&end) {
        true => Ok(all && outcome.code == Some(0)),
        false => Err(format!("the summary does not say {end:?}")),
    }
}
