//! Through which proxy the API server is reached: that of the kubeconfig, else that of the environment.
//!
//! The rules of Go's `httpproxy`, which kubectl follows: a `proxy-url` always counts; `NO_PROXY` is held against the
//! server's host; loopback is never asked for through a proxy of the environment.

use std::net::IpAddr;

use http::Uri;

use super::AccessError;
use crate::config::Variables;

/// The proxy for `server`, if there is one.
pub fn of(given: Option<&str>, server: &Uri, environment: Variables) -> Result<Option<Uri>, AccessError> {
    if let Some(proxy) = given.filter(|proxy| !proxy.is_empty()) {
        return parse(proxy, "proxy-url of the kubeconfig").map(Some);
    }
    let names = match server.scheme_str() {
        Some("http") => ["HTTP_PROXY", "http_proxy"],
        _ => ["HTTPS_PROXY", "https_proxy"],
    };
    let value = |name| environment(name).filter(|value| !value.is_empty());
    let set = |names: [&'static str; 2]| {
        names.into_iter().find_map(|name| Some((name, value(name)?.to_string_lossy().into_owned())))
    };
    let Some((name, proxy)) = set(names) else { return Ok(None) };
    let exceptions = set(["NO_PROXY", "no_proxy"]).map(|(_, value)| value).unwrap_or_default();
    let host = server.host().unwrap_or_default().trim_matches(['[', ']']);
    if is_loopback(host) || exceptions.split(',').any(|exception| matches(exception.trim(), host, port(server))) {
        return Ok(None);
    }
    let proxy = if proxy.contains("://") { proxy } else { format!("http://{proxy}") };
    parse(&proxy, name).map(Some)
}

/// The text is not shown: it may hold a password. Names are left to any SOCKS proxy, so `socks5h` is `socks5` here.
fn parse(text: &str, origin: &str) -> Result<Uri, AccessError> {
    let socks = text.strip_prefix("socks5h://").map(|rest| format!("socks5://{rest}"));
    let uri = socks
        .as_deref()
        .unwrap_or(text)
        .parse::<Uri>()
        .ok()
        .filter(|uri| uri.host().is_some() && matches!(uri.scheme_str(), Some("http" | "https" | "socks5")));
    uri.ok_or_else(|| AccessError::Proxy { origin: origin.to_owned() })
}

fn port(server: &Uri) -> u16 {
    server.port_u16().unwrap_or(if server.scheme_str() == Some("http") { 80 } else { 443 })
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether one entry of `NO_PROXY` means the host.
fn matches(entry: &str, host: &str, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    if let Some((network, bits)) = entry.split_once('/') {
        return match (network.parse(), bits.parse(), host.parse()) {
            (Ok(network), Ok(bits), Ok(address)) => is_in(address, network, bits),
            _ => false,
        };
    }
    let (name, wanted_port) = match entry.rsplit_once(':') {
        Some((name, digits)) if !name.contains(':') || name.ends_with(']') => match digits.parse::<u16>() {
            Ok(port) => (name, Some(port)),
            Err(_) => return false,
        },
        _ => (entry, None),
    };
    let name = name.trim_matches(['[', ']']);
    if name.is_empty() || wanted_port.is_some_and(|wanted| wanted != port) {
        return false;
    }
    let ends_with = |suffix: &str| {
        let suffix = format!(".{}", suffix.to_ascii_lowercase());
        host.to_ascii_lowercase().ends_with(&suffix)
    };
    match name.strip_prefix("*.").or_else(|| name.strip_prefix('.')) {
        Some(domain) => ends_with(domain),
        None => host.eq_ignore_ascii_case(name) || ends_with(name),
    }
}

fn is_in(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    let (address, network, width) = match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => (address.to_bits().into(), network.to_bits().into(), 32),
        (IpAddr::V6(address), IpAddr::V6(network)) => (address.to_bits(), network.to_bits(), 128),
        _ => return false,
    };
    let shift = |bytes: u128| if bits == 0 { 0 } else { bytes >> (width - bits) };
    bits <= width && shift(address) == shift(network)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(given: Option<&str>, server: &str, variables: &[(&str, &str)]) -> Option<String> {
        let environment = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, v)| v.into());
        of(given, &server.parse().unwrap(), &environment).unwrap().map(|uri| uri.to_string())
    }

    #[test]
    fn the_kubeconfig_comes_before_the_environment() {
        let variables = [("HTTPS_PROXY", "http://env:1"), ("NO_PROXY", "*")];
        assert_eq!(proxy(Some("socks5://p:1"), "https://k", &variables).unwrap(), "socks5://p:1/");
        assert_eq!(proxy(None, "https://k", &variables), None);
        assert_eq!(proxy(Some(""), "https://k", &[("https_proxy", "env:1")]).unwrap(), "http://env:1/");
        assert_eq!(proxy(None, "http://k", &[("HTTPS_PROXY", "http://env:1")]), None);
        assert_eq!(proxy(None, "https://127.0.0.1:6443", &[("HTTPS_PROXY", "http://env:1")]), None);
        assert_eq!(proxy(None, "https://k", &[("HTTPS_PROXY", "socks5h://p:1")]).unwrap(), "socks5://p:1/");
        assert!(of(Some("ftp://p"), &"https://k".parse().unwrap(), &|_| None).is_err());
    }

    #[test]
    fn exceptions_are_held_against_the_server() {
        for (entry, host, port, expected) in [
            ("example.com", "k.example.com", 443, true),
            ("example.com", "example.com", 443, true),
            ("example.com", "badexample.com", 443, false),
            (".example.com", "example.com", 443, false),
            ("*.example.com", "k.example.com", 443, true),
            ("example.com:6443", "example.com", 443, false),
            ("example.com:6443", "example.com", 6443, true),
            ("10.0.0.0/8", "10.1.2.3", 443, true),
            ("10.0.0.0/8", "11.1.2.3", 443, false),
            ("10.0.0.0/99", "10.1.2.3", 443, false),
            ("0.0.0.0/0", "10.1.2.3", 443, true),
            ("fd00::/8", "fd00::1", 443, true),
            ("10.1.2.3", "10.1.2.3", 443, true),
            ("[fd00::1]:6443", "fd00::1", 6443, true),
            ("fd00::1", "fd00::1", 443, true),
            ("", "k", 443, false),
        ] {
            assert_eq!(matches(entry, host, port), expected, "{entry} {host}:{port}");
        }
    }
}
