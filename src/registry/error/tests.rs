use super::*;
use crate::event::Category;

#[test]
fn messages_show_no_query_and_no_password() {
    let url = "https://user:secret@r.example.com:1/v2/x?_state=secret".parse().unwrap();
    let registry = "r.example.com:1".parse().unwrap();
    let error = Error::new(&registry, &Method::GET, &url, ErrorKind::NotTls);
    assert!(error.to_string().starts_with("GET https://r.example.com:1/v2/x: "), "{error}");
    assert!(!format!("{error:?}").contains("secret"));
}

fn error(status: u16, code: &str) -> Error {
    let (status, codes) = (StatusCode::from_u16(status).unwrap(), vec![code.to_owned()]);
    let kind = ErrorKind::Status { status, codes, message: String::new(), retry_after: None };
    Error { registry: "r.example.com".parse().unwrap(), asked: None, kind }
}

#[test]
fn what_names_missing_parts_is_no_outage_and_a_missing_blob_is_not_found() {
    let of_manifest = error(500, "MANIFEST_BLOB_UNKNOWN");
    assert!(!of_manifest.is_transient());
    assert_eq!(of_manifest.category(), Category::Refused);
    assert_eq!(error(404, "BLOB_UNKNOWN").category(), Category::NotFound);
    assert_eq!(error(500, "UNKNOWN").category(), Category::Network);
}

#[test]
fn who_is_not_let_in_is_told_from_what_is_not_taken() {
    for (status, category) in [(401, Category::Auth), (403, Category::Auth), (400, Category::Refused)] {
        assert_eq!(error(status, "DENIED").category(), category, "{status}");
    }
    let mut full = error(403, "DENIED");
    let ErrorKind::Status { message, .. } = &mut full.kind else { panic!("{full}") };
    message.push_str("storage quota exceeded");
    assert_eq!(full.category(), Category::Refused);
}

#[test]
fn a_name_that_is_refused_does_not_mean_that_parts_are_missing() {
    let url = "https://r.example.com/v2/a/manifests/1".parse().unwrap();
    for (code, may_be) in [("MANIFEST_INVALID", true), ("TAG_INVALID", false), ("NAME_INVALID", false)] {
        let kind = error(400, code).kind;
        let error = Error::new(&"r.example.com".parse().unwrap(), &Method::PUT, &url, kind);
        assert_eq!(error.may_be_of_missing_parts(), may_be, "{code}");
    }
}

#[test]
fn what_is_left_alone_for_long_or_without_hope_is_not_waited_for() {
    for (wait, hopeless, is_postponed) in [(200, false, true), (400, false, false), (200, true, false)] {
        let until = SystemTime::now() + Duration::from_secs(wait);
        let kind = ErrorKind::Limited { why: "slow down".into(), until, hopeless };
        let error = Error { registry: "r.example.com".parse().unwrap(), asked: None, kind };
        assert_eq!(error.postponed().is_some(), is_postponed, "{wait} {hopeless}");
    }
}

#[test]
fn a_certificate_that_is_wanted_is_one_of_ours_wherever_that_is() {
    let wanted = ErrorKind::CertificateNeeded { alert: "certificate required".to_owned() };
    let elsewhere = ErrorKind::Elsewhere { host: "s.example.com".to_owned(), kind: Arc::new(wanted.clone()) };
    for kind in [wanted, elsewhere] {
        let error = Error { registry: "r.example.com".parse().unwrap(), asked: None, kind };
        assert_eq!(error.category(), Category::Auth, "{error}");
    }
}

#[test]
fn what_passes_by_itself_is_known_by_its_number() {
    for (status, passes) in [(408, true), (499, true), (501, false), (505, false), (519, false), (525, false)]
        .into_iter()
        .chain([429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 530].map(|status| (status, true)))
    {
        assert_eq!(is_transient(StatusCode::from_u16(status).unwrap()), passes, "{status}");
    }
}
