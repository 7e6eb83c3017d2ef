//! How many files this process may have open, connections among them, and how much may be done at once with so few.

use crate::registry::heads;
use crate::transfer::Limits;

/// As many as are of use, with any number of workers. macOS grants no more.
#[cfg(unix)]
const OF_USE: u64 = 10_240;
/// Kept for what is no connection: logs, reports, the runtime, look-ups of names, credential helpers.
const OTHERS: u64 = 16;
/// To so many hosts there are connections for small requests and for blobs: the source, its storage, the destination.
const HOSTS: u64 = 3;

/// Raises the limit as far as it may be raised and that is of use. Answers what it is then, if there is one.
#[cfg(unix)]
pub(super) fn raise() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let granted = maximum.map_or(OF_USE, |maximum| maximum.min(OF_USE));
    let is_raised =
        current? < granted && setrlimit(Resource::Nofile, Rlimit { current: Some(granted), maximum }).is_ok();
    if is_raised { Some(granted) } else { current }
}

#[cfg(not(unix))]
pub(super) fn raise() -> Option<u64> {
    None
}

/// Fewer workers and requests, if these might need more files than may be open.
pub(super) fn within(files: u64, limits: Limits) -> Limits {
    let for_one_host = usize::try_from(files.saturating_sub(OTHERS) / HOSTS).unwrap_or(usize::MAX);
    if limits.workers.saturating_add(heads(limits.requests)) <= for_one_host {
        return limits;
    }
    let workers = limits.workers.min(for_one_host / 3).max(1);
    let requests = limits.requests.min(for_one_host.saturating_sub(workers) / 2).max(1);
    let fewer = Limits {
        workers,
        requests,
        tiny: limits.tiny.min(requests),
        images: limits.images.min(requests * 4),
        ..limits
    };
    if fewer != limits {
        tracing::warn!(
            "this process may open {files} files, connections among them: less is done at once (workers: {workers} of {}, \
             requests to a registry: {requests} of {}); raise `ulimit -n` for more",
            limits.workers,
            limits.requests
        );
    }
    fewer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_much_is_done_at_once_as_files_may_be_open_for() {
        let limited = |files, workers| {
            let Limits { workers, requests, .. } = within(files, Limits::for_workers(workers));
            (workers, requests)
        };
        assert_eq!([limited(1024, 7), limited(256, 7), limited(1024, 64)], [(7, 35), (7, 35), (64, 64)]);
        assert_eq!([limited(64, 7), limited(48, 7), limited(10, 7), limited(0, 1)], [(5, 5), (3, 3), (1, 1), (1, 1)]);
    }
}
