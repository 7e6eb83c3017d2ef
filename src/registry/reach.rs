//! From where an address can be reached: what a registry names must not lead closer than the registry itself is.
//!
//! Only what stands in the address is judged. Which address a name resolves to is not: whoever controls the names that a
//! registry is known by can lead its clients anywhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Position, Url};

/// From where an address can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    Everywhere,
    /// Private networks (RFC 1918, 4193, 6598).
    Site,
    Machine,
    /// Link-local: where clouds keep the credentials of machines; and where they keep them elsewhere.
    Link,
}

/// Where a cloud keeps the credentials of machines, if not in the link-local network: Alibaba, Azure, and AWS for IPv6.
const METADATA: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];
/// The names by which Google and AWS have their machines ask for them.
const METADATA_NAMES: [&str; 2] = ["metadata.google.internal", "instance-data.ec2.internal"];

/// The host of a URL, and its port if that is not the usual one.
pub(super) fn authority(url: &Url) -> &str {
    &url[Position::BeforeHost..Position::AfterPort]
}

/// Whether what goes `to` is no easier to read on its way than what goes to `from`, which names it.
pub(super) fn is_no_weaker(from: &Url, to: &Url) -> bool {
    matches!((from.scheme(), to.scheme()), (_, "https") | ("http", "http"))
}

/// The reach of `to`, if that is closer than `from`, an address of the registry's, or on our own link.
pub(super) fn closer(from: &Url, to: &Url) -> Option<Reach> {
    if to.host() == from.host() {
        return None;
    }
    match (reach(to), reach(from)) {
        (Reach::Everywhere, _) | (Reach::Site, Reach::Site | Reach::Machine) | (Reach::Machine, Reach::Machine) => None,
        (close, _) => Some(close),
    }
}

pub(super) fn reach(url: &Url) -> Reach {
    let address = match url.host() {
        Some(Host::Domain(name)) if is_this_machine(name) => return Reach::Machine,
        Some(Host::Domain(name)) if METADATA_NAMES.contains(&name.trim_end_matches('.')) => return Reach::Link,
        Some(Host::Ipv4(address)) => IpAddr::V4(address),
        Some(Host::Ipv6(address)) => embedded(address).map_or(IpAddr::V6(address), IpAddr::V4),
        Some(Host::Domain(_)) | None => return Reach::Everywhere,
    };
    let shared = |address: Ipv4Addr| address.octets()[0] == 100 && address.octets()[1] & 0xc0 == 64;
    match address {
        // All of 0.0.0.0/8 is "this network" (RFC 1122, section 3.2.1.3).
        IpAddr::V4(address) if address.is_loopback() || address.octets()[0] == 0 => Reach::Machine,
        IpAddr::V6(address) if address.is_loopback() || address.is_unspecified() => Reach::Machine,
        address if METADATA.contains(&address) => Reach::Link,
        IpAddr::V4(address) if address.is_link_local() => Reach::Link,
        IpAddr::V6(address) if address.is_unicast_link_local() => Reach::Link,
        IpAddr::V4(address) if address.is_private() || shared(address) => Reach::Site,
        IpAddr::V6(address) if address.is_unique_local() => Reach::Site,
        _ => Reach::Everywhere,
    }
}

/// `localhost` and all below it (RFC 6761, section 6.3), also with the dot that ends a full name.
fn is_this_machine(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name == "localhost" || name.ends_with(".localhost")
}

/// The IPv4 address that an IPv6 address stands for: mapped or compatible (RFC 4291, section 2.5.5), or to be translated
/// (RFC 6052, section 2.1). Those of IPv6 itself that look compatible, `::` and `::1`, stand for this machine either way.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low))),
        _ => address.to_ipv4(),
    }
}

/// Whether it is followed where `from`, an address of the registry's, sends us for content: to `to`; if not, why. Private
/// networks are where the storage of many registries is.
pub(super) fn check(from: &Url, to: &Url) -> Result<(), String> {
    let why = match closer(from, to) {
        _ if !is_no_weaker(from, to) => &format!("over {} where {} was spoken", to.scheme(), from.scheme()),
        None | Some(Reach::Everywhere | Reach::Site) => return Ok(()),
        Some(Reach::Machine) => "which is this machine",
        Some(Reach::Link) => "a link-local address, or where a cloud keeps credentials",
    };
    Err(format!("to {}, {why}", to.host_str().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_followed(from: &str, to: &str) -> bool {
        check(&from.parse().unwrap(), &to.parse().unwrap()).is_ok()
    }

    #[test]
    fn nothing_leads_to_this_machine_but_this_machine() {
        for here in [
            "127.0.0.1:1",
            "127.9.9.9",
            "localhost",
            "localhost.",
            "a.localhost.:8",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[64:ff9b::127.0.0.1]",
            "[::127.0.0.1]",
            "[::7f00:1]",
            "0.0.0.0",
            "0.1.2.3",
            "2130706433",
            "0x7f.1",
        ] {
            let here = format!("https://{here}/x");
            assert!(!is_followed("https://r.example.com/", &here), "{here}");
            assert!(!is_followed("https://10.0.0.1/", &here), "{here}");
            assert!(is_followed("http://127.0.0.1:5000/", &here), "{here}");
            assert!(is_followed(&here, &here), "{here}");
        }
    }

    #[test]
    fn nothing_leads_to_where_clouds_keep_credentials() {
        for link in [
            "169.254.169.254",
            "[fe80::1]",
            "[::ffff:169.254.169.254]",
            "[64:ff9b::169.254.169.254]",
            "100.100.100.200",
            "[::ffff:100.100.100.200]",
            "[::100.100.100.200]",
            "[::169.254.169.254]",
            "168.63.129.16",
            "metadata.google.internal",
            "Metadata.Google.Internal.",
            "[fd00:ec2::254]",
        ] {
            let link = format!("https://{link}/x");
            for from in ["https://r.example.com/", "https://10.0.0.1/", "http://127.0.0.1:5000/", "http://169.254.1.1/"]
            {
                assert!(!is_followed(from, &link), "{from} -> {link}");
            }
            assert!(is_followed(&link, &link), "its own host");
        }
    }

    #[test]
    fn storage_may_be_in_a_private_network() {
        for site in ["10.0.0.1", "192.168.1.1:9000", "100.64.0.1", "[fd00::1]", "storage.example.com"] {
            assert!(is_followed("https://r.example.com/", &format!("https://{site}/x")), "{site}");
        }
    }
}
