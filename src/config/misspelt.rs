//! Registries that look like a misspelt host of auth.json, or of a registry that everybody knows.

use std::collections::{BTreeSet, HashSet};

use super::rule::Rule;
use crate::reference::Registry;

/// Letters in which a misspelt host differs, at most.
const DIFFERENCE: usize = 2;
/// Longest word that may be a region's.
const REGION: usize = 4;
/// Shorter hosts differ in so few letters by chance.
const SHORTEST: usize = 8;
/// Registries that everybody knows. Some have names as short as they are alike: one of them is never a slip of the pen.
const WELL_KNOWN: [&str; 12] = [
    "docker.io",
    "gcr.io",
    "ghcr.io",
    "icr.io",
    "lscr.io",
    "mcr.microsoft.com",
    "nvcr.io",
    "public.ecr.aws",
    "quay.io",
    "registry.gitlab.com",
    "registry.k8s.io",
    "registry.redhat.io",
];

/// A warning for each registry of `rules` that is not among `hosts` but almost is, or almost is one that everybody knows.
/// Ports do not count, since several registries of one host are usual; but with the usual port it is the same one.
pub(super) fn warnings(rules: &[Rule], hosts: &HashSet<Registry>) -> impl Iterator<Item = String> {
    let named =
        |rule: &Rule| [&rule.images.source, &rule.images.destination].map(|repository| repository.registry().clone());
    let registries: BTreeSet<Registry> = rules.iter().flat_map(named).collect();
    registries.into_iter().filter(|registry| !hosts.contains(registry)).filter_map(|registry| {
        let is_meant = |known: &&Registry| is_same(&registry, known) || is_almost(registry.host(), known.host());
        let meant = hosts.iter().filter(is_meant).min();
        match meant {
            Some(meant) => Some(format!("{registry} has no entry in auth.json; is {meant} meant, which has one?")),
            None => {
                let meant = well_known_like(registry.as_str()).filter(|_| !is_host_of(hosts, &registry))?;
                Some(format!("{registry} is a letter away from a registry that is well known; is {meant} meant?"))
            }
        }
    })
}

/// Whether they differ in the usual port of https alone, which one of them leaves out.
fn is_same(one: &Registry, other: &Registry) -> bool {
    let plain = |registry: &Registry| registry.as_str().trim_end_matches(":443").to_owned();
    plain(one) == plain(other)
}

/// Whether auth.json has the host with another port.
fn is_host_of(hosts: &HashSet<Registry>, registry: &Registry) -> bool {
    hosts.iter().any(|known| known.host() == registry.host())
}

/// The well-known registries that differ from `written` by one letter, or by two that changed places; none if it is one
/// itself. Who writes a port means a registry of his own.
fn well_known_like(written: &str) -> Option<String> {
    let like: Vec<&str> = WELL_KNOWN.into_iter().filter(|known| strsim::osa_distance(written, known) <= 1).collect();
    (!like.is_empty() && !like.contains(&written)).then(|| like.join(" or "))
}

fn is_almost(written: &str, known: &str) -> bool {
    // Regions and accounts differ in digits, on purpose; so do addresses, and those of IPv6 have letters among them.
    let letters = |text: &str| text.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
    let differs_in_digits = written.starts_with('[') || letters(written) == letters(known);
    !differs_in_digits
        && !is_elsewhere(written, known)
        && known.len() >= SHORTEST
        && strsim::osa_distance(written, known) <= DIFFERENCE
}

/// Whether two hosts differ in short words alone, as `eu` and `us`, `east` and `west` are.
fn is_elsewhere(one: &str, other: &str) -> bool {
    let words = |host: &str| host.split(['.', '-']).map(str::to_owned).collect::<Vec<_>>();
    let (one, other) = (words(one), words(other));
    let mut pairs = one.iter().zip(&other).filter(|(a, b)| a != b);
    one.len() == other.len() && pairs.all(|(a, b)| a.len().max(b.len()) <= REGION)
}

#[cfg(test)]
mod tests {
    use super::{WELL_KNOWN, is_almost, is_same, well_known_like};

    #[test]
    fn the_usual_port_makes_no_other_registry() {
        let same = |one: &str, other: &str| is_same(&one.parse().unwrap(), &other.parse().unwrap());
        assert!(same("swr.example.com", "swr.example.com:443") && same("[fd00::1]:443", "[fd00::1]"));
        assert!(!same("swr.example.com", "swr.example.com:8443") && !same("[fd00::443]", "[fd00::]"));
    }

    #[test]
    fn a_slip_of_the_pen_in_a_well_known_name_is_asked_about() {
        for (written, meant) in [
            ("quai.io", "quay.io"),
            ("qauy.io", "quay.io"),
            ("dokcer.io", "docker.io"),
            ("gchr.io", "gcr.io or ghcr.io"),
            ("registry.k9s.io", "registry.k8s.io"),
        ] {
            assert_eq!(well_known_like(written).as_deref(), Some(meant), "{written}");
        }
        let others = ["eu.gcr.io", "quay.io:8443", "us.icr.io", "docker.elastic.co", "registry", "cgr.dev", "dhi.io"];
        for written in WELL_KNOWN.into_iter().chain(others) {
            assert_eq!(well_known_like(written), None, "{written}");
        }
    }

    #[test]
    fn a_slip_of_the_pen_is_told_from_another_host() {
        assert!(is_almost("swr.exmple.com", "swr.example.com"));
        assert!(is_almost("registyr.example.com", "registry.example.com"));
        assert!(!is_almost("swr.cn-north-1.myhuaweicloud.com", "swr.cn-north-4.myhuaweicloud.com"), "another region");
        assert!(!is_almost("eu-docker.pkg.dev", "us-docker.pkg.dev"), "another continent");
        assert!(!is_almost("1.dkr.ecr.us-east-1.amazonaws.com", "1.dkr.ecr.us-west-1.amazonaws.com"));
        assert!(is_almost("us-dcoker.pkg.dev", "us-docker.pkg.dev"));
        assert!(!is_almost("127.0.0.1", "127.0.0.2"));
        assert!(!is_almost("[2001:db8::a]", "[2001:db8::b]"));
        assert!(!is_almost("quay.io", "quai.io"), "too short to tell");
        assert!(!is_almost("docker.example.com", "harbor.example.com"));
    }
}
