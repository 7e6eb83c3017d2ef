//! Which token servers are believed. A registry names its own; one that is broken or wicked could name a host that
//! only this machine reaches, or one to which passwords would travel in the clear.

use url::Url;

use super::reach::{Reach, authority, closer, is_no_weaker};

/// Whether tokens may be asked for at `realm`, which was named at `url`; if not, why.
pub(super) fn check(realm: &Url, url: &Url) -> Result<(), String> {
    let why = match closer(url, realm) {
        // Whoever can read http could read the password that is sent to it.
        _ if !is_no_weaker(url, realm) => &format!("it speaks {}, and the registry {}", realm.scheme(), url.scheme()),
        None | Some(Reach::Everywhere) => return Ok(()),
        Some(Reach::Machine) => "it is this machine, and the registry is not",
        Some(Reach::Site) => "it is a private address, and the registry's is none; let it name its host",
        Some(Reach::Link) => "it is a link-local address, or where a cloud keeps credentials",
    };
    Err(format!("its token server {}://{} is not used: {why}", realm.scheme(), authority(realm)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_used(realm: &str, registry: &str) -> bool {
        check(&realm.parse().unwrap(), &registry.parse().unwrap()).is_ok()
    }

    #[test]
    fn a_token_server_is_no_weaker_than_its_registry() {
        assert!(is_used("https://auth.io/t", "https://r.io/"));
        assert!(is_used("https://auth.io/t", "http://r.io/"));
        assert!(is_used("http://auth.io/t", "http://r.io/"));
        assert!(!is_used("http://auth.io/t", "https://r.io/"));
        assert!(!is_used("http://r.io/t", "https://r.io/"));
        assert!(!is_used("ftp://r.io/t", "http://r.io/"));
    }

    #[test]
    fn a_token_server_is_no_closer_than_its_registry() {
        for realm in ["10.0.0.1", "192.168.1.1", "100.64.0.1", "[fd00::1]", "[::ffff:10.0.0.1]"] {
            let realm = format!("https://{realm}/t");
            assert!(!is_used(&realm, "https://r.io/"), "{realm}");
            assert!(!is_used(&realm, "https://8.8.8.8/"), "{realm}");
            assert!(is_used(&realm, "https://172.16.0.1:5000/"), "{realm}");
            assert!(is_used(&realm, "https://127.0.0.1:5000/"), "{realm}");
        }
        for realm in ["127.0.0.1:1", "[::127.0.0.1]", "localhost:1", "auth.localhost", "[::1]", "2130706433", "0.0.0.0"]
        {
            let realm = format!("https://{realm}/t");
            assert!(!is_used(&realm, "https://r.io/"), "{realm}");
            assert!(!is_used(&realm, "https://10.0.0.1/"), "{realm}");
            assert!(is_used(&realm, "https://127.0.0.1:5000/"), "{realm}");
        }
        for realm in [
            "169.254.169.254",
            "metadata.google.internal",
            "168.63.129.16",
            "[fe80::1]",
            "[::ffff:169.254.169.254]",
            "[fd00:ec2::254]",
        ] {
            let realm = format!("https://{realm}/t");
            assert!(!is_used(&realm, "https://r.io/") && !is_used(&realm, "https://127.0.0.1/"), "{realm}");
            assert!(is_used(&realm, &realm), "its own host");
        }
    }
}
