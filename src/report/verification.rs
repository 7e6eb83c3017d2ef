//! A verification: the differences on standard output, one image a line, then the tally.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::{Conclusion, Teller, Telling, log, text};
use crate::event::{Defect, Ending, Event, Listener, Part, Verdict, Wrong};
use crate::reference::Reference;

/// Listens to a verification and tells of it. Standard output is what differs alone.
pub struct VerificationTeller {
    teller: Teller,
    equal: AtomicUsize,
    skipped: AtomicUsize,
    missing: AtomicUsize,
    differ: AtomicUsize,
    incomplete: AtomicUsize,
}

impl VerificationTeller {
    /// Prints where `teller` prints.
    pub fn new(teller: Teller) -> Self {
        let [equal, skipped, missing, differ, incomplete] = Default::default();
        Self { teller, equal, skipped, missing, differ, incomplete }
    }
}

impl Listener for VerificationTeller {
    fn hear(&self, event: &Event) {
        log::event(event);
        let Event::ImageVerified { source, destination, verdict, .. } = event else { return };
        let counter = match verdict {
            Verdict::Equal => &self.equal,
            Verdict::Skipped => &self.skipped,
            Verdict::Missing => &self.missing,
            Verdict::Differs { .. } => &self.differ,
            Verdict::Incomplete(_) => &self.incomplete,
        };
        counter.fetch_add(1, Relaxed);
        if let Some(line) = difference(source, destination, verdict) {
            log::differs(&line, source, destination);
            self.teller.console.out(&line);
        }
    }
}

impl Telling for VerificationTeller {
    /// Names what could not be compared. All is well if all is equal.
    fn finish(&self, ending: &Ending) -> Conclusion {
        let Ending { images, failed_images, failed_rules, .. } = ending;
        let (failed, not_generated) = (failed_images.len(), ending.not_generated());
        self.teller.failures(failed_rules, &[]);
        for failed in text::failures(&[], failed_images) {
            log::failed(failed);
            // An answer like the other three.
            self.teller.console.out(&failed.to_string().replacen("FAILED", "failed", 1));
        }
        let count = |counter: &AtomicUsize| counter.load(Relaxed);
        let summary = format!(
            "Images({images}) verified, {} equal,{} {} missing, {} differ, {} incomplete, {failed} images tasks failed, \
             {not_generated} tasks generate failed",
            count(&self.equal),
            // Only --platform leaves any out.
            if count(&self.skipped) > 0 { format!(" {} skipped,", count(&self.skipped)) } else { String::new() },
            count(&self.missing),
            count(&self.differ),
            count(&self.incomplete),
        );
        Conclusion { summary, is_well: count(&self.equal) + count(&self.skipped) == *images && not_generated == 0 }
    }
}

fn difference(source: &Reference, destination: &Reference, verdict: &Verdict) -> Option<String> {
    let word = match verdict {
        Verdict::Equal | Verdict::Skipped => return None,
        Verdict::Missing => return Some(format!("missing {source} -> {destination}")),
        Verdict::Differs { .. } => "differs",
        Verdict::Incomplete(_) => "incomplete",
    };
    Some(format!("{word} {source} -> {destination}: {}", reason(verdict)?))
}

/// What is wrong with an image, if something is.
pub(super) fn reason(verdict: &Verdict) -> Option<String> {
    match verdict {
        Verdict::Equal | Verdict::Skipped => None,
        Verdict::Missing => Some("it is missing".to_owned()),
        Verdict::Differs { expected, found } => Some(format!("it names {found}, expected {expected}")),
        Verdict::Incomplete(defects) => {
            let defects: Vec<String> = defects.iter().map(|defect| Told(defect).to_string()).collect();
            Some(defects.join("; "))
        }
    }
}

/// What is wrong with a part, in words.
struct Told<'a>(&'a Defect);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Defect { part, digest, size, wrong } = self.0;
        let part = match part {
            Part::Manifest => "manifest",
            Part::Blob => "blob",
        };
        write!(f, "{part} {digest}")?;
        if let Some(size) = size {
            write!(f, " of {size} bytes")?;
        }
        match wrong {
            Wrong::Missing => f.write_str(" is missing"),
            Wrong::Size(found) => write!(f, " has {found} bytes"),
            Wrong::Content(found) => write!(f, " is damaged, its content has digest {found}"),
            Wrong::Unreadable(reason) => write!(f, " cannot be read: {reason}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    #[test]
    fn each_part_is_named_with_what_is_wrong() {
        let told = |part, wrong| {
            let digest = Digest::of(b"");
            Told(&Defect { part, digest: digest.clone(), size: Some(7), wrong })
                .to_string()
                .replace(&digest.to_string(), "D")
        };
        assert_eq!(told(Part::Manifest, Wrong::Missing), "manifest D of 7 bytes is missing");
        assert_eq!(told(Part::Blob, Wrong::Size(6)), "blob D of 7 bytes has 6 bytes");
        let damaged = told(Part::Blob, Wrong::Content(Digest::of(b"")));
        assert_eq!(damaged, "blob D of 7 bytes is damaged, its content has digest D");
    }
}
