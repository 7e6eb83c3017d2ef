//! What is behind an error: the chain of its sources, down to the first cause.

use std::error::Error;
use std::io;

use crate::foreign::one_line;

pub type Source<'a> = &'a (dyn Error + 'static);

/// The error itself, what caused it, and so on.
pub fn sources<'a>(error: Source<'a>) -> impl Iterator<Item = Source<'a>> {
    fn next<'a>(error: &Source<'a>) -> Option<Source<'a>> {
        // Asked for its source, an I/O error skips the error that it wraps.
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => (**error).source(),
        }
    }
    std::iter::successors(Some(error), next)
}

/// The first error of a type in the chain.
pub fn find<'a, E: Error + 'static>(error: Source<'a>) -> Option<&'a E> {
    sources(error).find_map(|source| source.downcast_ref())
}

/// What the last error of the chain says: what happened. Those before it only say where.
pub fn innermost(error: Source<'_>) -> String {
    one_line(&sources(error).last().map(ToString::to_string).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] io::Error);

    #[derive(Debug, thiserror::Error)]
    #[error("wrapped")]
    struct Wrapped(#[source] std::num::ParseIntError);

    #[test]
    fn a_chain_leads_through_what_io_errors_wrap() {
        let number = "x".parse::<u8>().unwrap_err();
        let error = Outer(io::Error::other(Wrapped(number.clone())));
        assert!(find::<Wrapped>(&error).is_some());
        assert_eq!(find::<std::num::ParseIntError>(&error), Some(&number));
        assert!(find::<std::fmt::Error>(&error).is_none());
        assert_eq!(innermost(&error), number.to_string());
    }

    #[test]
    fn a_cause_is_told_in_one_line() {
        assert_eq!(innermost(&io::Error::other("two\nlines\x1b[31m")), "two lines[31m");
    }
}
