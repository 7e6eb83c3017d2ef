use super::*;

fn repository(text: &str) -> Result<Repository, InvalidReference> {
    text.parse()
}

#[test]
fn docker_hub_has_one_name_and_one_library() {
    for host in ["docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"] {
        assert_eq!(repository(&format!("{host}/nginx")).unwrap().to_string(), "docker.io/library/nginx");
    }
    assert_eq!(repository("docker.io/a/b").unwrap().path(), "a/b");
    assert_eq!(repository("quay.io/nginx").unwrap().path(), "nginx");
}

#[test]
fn a_registry_is_a_host_or_an_address_and_perhaps_a_port() {
    for text in ["quay.io", "localhost", "localhost:5000", "10.0.0.1:80", "[::1]", "[::1]:5000", "a-b.example.com"] {
        assert_eq!(text.parse::<Registry>().unwrap().as_str(), text);
    }
    for text in ["", ":5000", "a..b", "-a.com", "a_b.com", "a.com:", "a.com:0", "a.com:70000", "[::g]", "a b", "a@b"] {
        assert!(text.parse::<Registry>().is_err(), "{text}");
    }
    assert_eq!("QUAY.io".parse::<Registry>().unwrap().as_str(), "quay.io");
}

#[test]
fn a_registry_is_the_host_that_its_urls_have() {
    for text in ["10.0.0.1", "xn--bcher-kva.example", "1.example", "256.example.com", "registry"] {
        assert_eq!(text.parse::<Registry>().unwrap().as_str(), text);
    }
    // Addresses in disguise, what looks like one, what is no Punycode, a port that is another's.
    for text in ["127.1", "0x7f.0.0.1", "2130706433", "010.0.0.1", "256.0.0.1", "1.2.3.4.5", "xn--a", "a.com:0443"] {
        assert!(text.parse::<Registry>().is_err(), "{text}");
    }
    for (text, meant) in [
        ("127.1:5000", "127.0.0.1:5000"),
        ("[0:0:0:0:0:0:0:1]:5000", "[::1]:5000"),
        ("[::0001]", "[::1]"),
        ("[::ffff:127.0.0.1]", "[::ffff:7f00:1]"),
    ] {
        let error = text.parse::<Registry>().unwrap_err();
        assert_eq!(error, InvalidReference::OtherSpelling { written: text.into(), meant: meant.into() });
        assert!(meant.parse::<Registry>().is_ok());
    }
    assert_eq!("[FE80::A]".parse::<Registry>().unwrap().as_str(), "[fe80::a]");
}

#[test]
fn a_name_is_told_from_its_tag_and_digest() {
    for (text, name, tag, digest) in [
        ("nginx", "nginx", None, None),
        ("h:5000/a", "h:5000/a", None, None),
        ("h:5000/a:1@b:c", "h:5000/a", Some("1"), Some("b:c")),
        ("[::1]/a@b", "[::1]/a", None, Some("b")),
        ("a:@", "a", Some(""), Some("")),
    ] {
        assert_eq!(Parts::split(text), Parts { name, tag, digest });
    }
}

#[test]
fn a_host_is_told_from_a_namespace_by_its_looks() {
    for text in ["localhost", "LocalHost", "quay.io", "registry:5000", "[::1]"] {
        assert!(looks_like_host(text), "{text}");
    }
    for text in ["", "bitnami", "registry", "Registry"] {
        assert!(!looks_like_host(text), "{text}");
    }
}

#[test]
fn a_host_has_no_port() {
    for (text, host) in [("h.io:443", "h.io"), ("h.io", "h.io"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]")] {
        assert_eq!(text.parse::<Registry>().unwrap().host(), host);
    }
}

#[test]
fn the_first_component_of_a_path_can_be_left_out_if_there_is_another() {
    assert_eq!(repository("q.io/a/b/c").unwrap().below_first(), "b/c");
    assert_eq!(repository("q.io/a").unwrap().below_first(), "a");
}

#[test]
fn the_usual_port_of_https_makes_no_other_repository() {
    for (text, plain) in [
        ("h.io:443/d/x", "h.io/d/x"),
        ("[::1]:443/x", "[::1]/x"),
        ("h.io:1443/x", "h.io:1443/x"),
        ("h.io:80/x", "h.io:80/x"),
        ("h.io/x", "h.io/x"),
    ] {
        assert_eq!(repository(text).unwrap().without_usual_port(), repository(plain).unwrap(), "{text}");
    }
}

#[test]
fn loopback_hosts_are_known() {
    for text in ["localhost", "localhost:1", "127.0.0.1:5000", "127.9.9.9", "[::1]:5000"] {
        assert!(text.parse::<Registry>().unwrap().is_loopback(), "{text}");
    }
    for text in ["10.0.0.1", "example.com:127", "localhost.example.com"] {
        assert!(!text.parse::<Registry>().unwrap().is_loopback(), "{text}");
    }
}

#[test]
fn a_path_is_what_the_specification_allows() {
    for path in ["a", "a/b/c", "a.b", "a_b", "a__b", "a---b", "0/1"] {
        assert!(repository(&format!("quay.io/{path}")).is_ok(), "{path}");
    }
    for path in ["A", "a//b", "/a", "a/", "a..b", "a___b", ".a", "a-", "a._b", "ä", "a b", "../a"] {
        assert!(matches!(repository(&format!("quay.io/{path}")), Err(InvalidReference::Path(_))), "{path}");
    }
    assert!(repository(&format!("quay.io/{}", "a".repeat(255))).is_ok());
    assert!(repository(&format!("quay.io/{}", "a".repeat(256))).is_err());
    let longest = repository(&format!("docker.io/{}", "a".repeat(255 - "library/".len()))).unwrap();
    assert_eq!(repository(&longest.to_string()), Ok(longest));
    assert!(repository(&format!("docker.io/{}", "a".repeat(255))).is_err(), "with library/ it is too long");
    assert!(matches!(repository("quay.io/"), Err(InvalidReference::NoRepository(_))));
    assert!(matches!(repository("quay.io"), Err(InvalidReference::NoRepository(_))));
}

#[test]
fn a_tag_is_what_the_specification_allows() {
    for tag in ["latest", "1.0", "_x", "A-b.c", &"t".repeat(128)] {
        assert!(tag.parse::<Tag>().is_ok(), "{tag}");
    }
    for tag in ["", ".a", "-a", "a b", "a/b", "a:b", "ä", "a\u{1b}[0m", &"t".repeat(129)] {
        assert!(tag.parse::<Tag>().is_err(), "{tag}");
    }
}

#[test]
fn a_digest_has_a_tag() {
    let expected = "sha256-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(Tag::of_digest(&Digest::of(b"")), expected.parse().unwrap());
    // As long as the specification allows: SHA-512 is cut.
    let long: Digest = format!("sha512:{}", "ab".repeat(64)).parse().unwrap();
    assert_eq!(Tag::of_digest(&long), format!("sha512-{}", "ab".repeat(32)).parse().unwrap());
}

#[test]
fn a_reference_is_small() {
    assert!(size_of::<Reference>() <= 24);
}

#[test]
fn references_are_written_as_people_write_them() {
    let nginx = repository("docker.io/nginx").unwrap();
    let digest = Digest::of(b"");
    assert_eq!(nginx.tagged("1.25".parse().unwrap()).to_string(), "docker.io/library/nginx:1.25");
    assert_eq!(nginx.at_digest(digest.clone()).to_string(), format!("docker.io/library/nginx@{digest}"));
}

#[test]
fn a_reference_is_read_as_it_is_written() {
    let digest = Digest::of(b"");
    for text in ["registry/a:1", "localhost:5000/a/b:v1", "docker.io/library/nginx:1", &format!("q.io/a@{digest}")] {
        assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
    }
    for text in ["", "a:1", "registry/a", "/a:1", "q.io/a:", "q.io/a@sha256:1", &format!("q.io/a:1@{digest}")] {
        assert!(text.parse::<Reference>().is_err(), "{text}");
    }
}
