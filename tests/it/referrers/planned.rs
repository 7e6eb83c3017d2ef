//! Lists of referrers whose tags the rules name, too.

use super::*;

/// As where a registry came to keep lists of its own after others had put theirs under tags.
#[tokio::test]
async fn what_a_list_that_is_copied_as_it_is_does_not_name_is_told() {
    let (source, destination) = (registry(true).await, registry(false).await);
    let subject = source.put("app", "1", &small(1));
    let (_, old) = attach(&source, "text/old", &subject, "old");
    list(&source, &subject, std::slice::from_ref(&old));
    let whole = || {
        Migration::new()
            .rule(format!("{}/app", source.host()), format!("{}/app", destination.host()))
            .args(["--referrers"])
    };
    let outcome = whole().run().await;
    outcome.assert_success(2);
    assert!(!outcome.stderr.contains("lacks some"), "{outcome}");
    let (new, _) = attach(&source, "text/new", &subject, "new");
    let outcome = whole().run().await;
    outcome.assert_success(2);
    outcome.assert_line(" WARN ", &["lacks some", &subject]);
    assert_eq!(destination.missing("app", &new), Vec::<String>::new(), "it is there");
    // And is listed by who asks for the image alone.
    migration(&source, &destination).run().await.assert_success(1);
    assert_eq!(listed(&destination, &subject), [old["digest"].as_str().unwrap(), &new]);
}
