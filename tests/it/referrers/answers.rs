//! What registries say when they are asked for a list of referrers.

use super::*;

#[tokio::test]
async fn a_repository_that_lists_no_referrers_to_us_says_nothing_of_another() {
    let (source, destination) = (registry(true).await, registry(true).await);
    let subject = source.put("app", "1", &small(1));
    let (sbom, _) = attach(&source, "text/sbom", &subject, "sbom");
    source.put("other", "1", &small(2));
    source.on(Kind::Referrers.within("other"), Answer::status(403));
    let migration = Migration::new()
        .rule(source.reference("other", "1"), destination.reference("other", "1"))
        .rule(source.reference("app", "1"), destination.reference("app", "1"))
        .args(["--referrers"]);
    // The other one is asked first.
    let gate = Gate::closed();
    source.on(Kind::BlobGet.within("app"), gate.clone());
    let mut running = migration.start().await;
    running.until(&source, Kind::Referrers, 1).await;
    gate.open();
    running.finish().await.assert_success(2);
    assert!(destination.manifest("app", &sbom).is_some());
}

#[tokio::test]
async fn a_repository_without_lists_says_nothing_of_another() {
    let (source, destination) = (registry(true).await, registry(true).await);
    source.put("first", "1", &small(1));
    source.put("first", "2", &small(3));
    let second = source.put("app", "1", &small(2));
    let (signature, _) = attach(&source, "text/signature", &second, "of the second");
    source.on(Kind::Referrers.within("first"), Answer::status(404).body("404 page not found"));
    // One image of the first before there is any list, and one after it.
    let (before, after) = (Gate::closed(), Gate::closed());
    source.on(Kind::BlobGet.within("app"), before.clone());
    source.on(Kind::BlobGet.within("first").of(&small(3).layers()[0]), after.clone());
    for (matcher, gate) in [(Kind::Referrers.within("first"), before), (Kind::ManifestGet.of(&signature), after)] {
        source.on_each(matcher, move |_| {
            gate.open();
            None
        });
    }
    let migration = Migration::new()
        .rule(source.reference("first", "1,2"), format!("{}/first", destination.host()))
        .rule(source.reference("app", "1"), destination.reference("app", "1"))
        .args(["--referrers"]);
    migration.run().await.assert_success(3);
    assert!(destination.manifest("app", &signature).is_some());
}

#[tokio::test]
async fn that_a_registry_lacks_one_manifest_says_nothing_of_its_lists() {
    for code in ["MANIFEST_UNKNOWN", "NAME_UNKNOWN"] {
        let (source, destination) = (registry(true).await, registry(true).await);
        let [lacking, other] = [1, 2].map(|seed| source.put("app", &seed.to_string(), &small(seed)));
        let (signature, _) = attach(&source, "text/signature", &other, "of the other");
        source.on(Kind::Referrers.of(&lacking), Answer::error(404, code, "unknown"));
        let gate = Gate::closed();
        source.on(Kind::BlobGet.of(&small(2).layers()[0]), gate.clone());
        source.on_each(Kind::Referrers.of(&lacking), move |_| {
            gate.open();
            None
        });
        let migration = Migration::new()
            .rule(source.reference("app", "1,2"), format!("{}/app", destination.host()))
            .args(["--referrers"]);
        migration.run().await.assert_success(2);
        assert!(destination.manifest("app", &signature).is_some(), "{code}");
    }
}

#[tokio::test]
async fn what_a_registry_that_keeps_lists_does_not_list_is_a_failure_of_its_image_alone() {
    for answer in [404, 400, 403, 412, 500] {
        let (source, destination) = (registry(true).await, registry(true).await);
        let images = [1, 2, 3].map(|seed| source.put("app", &seed.to_string(), &small(seed)));
        let signatures = images.each_ref().map(|image| attach(&source, "text/signature", image, image).0);
        let answer = Answer::error(answer, "MANIFEST_UNKNOWN", "not now");
        // Of the first a list has come, whichever comes first.
        let gate = Gate::closed();
        source.on(Kind::Referrers.of(&images[1]), Action::from(gate.clone()).and(answer));
        let opened = gate.clone();
        destination.on_each(Kind::ManifestPut.of(&signatures[0]), move |_| {
            opened.open();
            None
        });
        let migration = Migration::new()
            .rule(source.reference("app", "1,2,3"), format!("{}/app", destination.host()))
            .args(["--referrers"]);
        let outcome = migration.run().await;
        outcome.assert_failures(3, 1, 0);
        outcome.assert_line("FAILED ", &[&source.reference("app", "2"), "not now"]);
        let came = signatures.each_ref().map(|signature| destination.manifest("app", signature).is_some());
        assert_eq!(came, [true, false, true], "{outcome}");
    }
}

#[tokio::test]
async fn a_list_that_lags_behind_what_was_written_is_asked_for_again() {
    let (source, destination) = (registry(true).await, registry(true).await);
    let subject = source.put("app", "1", &small(1));
    let (signature, _) = attach(&source, "text/signature", &subject, "signature");
    let lags = destination.on(Kind::Referrers.once(), Answer::error(404, "MANIFEST_UNKNOWN", "manifest unknown"));
    migration(&source, &destination).run().await.assert_success(1);
    assert!(destination.manifest("app", &signature).is_some());
    assert_eq!(
        (lags.hits(), destination.tags("app")),
        (1, vec!["1".to_owned()]),
        "a list is not written beside its own"
    );
}

#[tokio::test]
async fn a_repository_without_lists_is_asked_once() {
    let (source, destination) = (registry(false).await, registry(false).await);
    for seed in 1..5 {
        source.put("app", &seed.to_string(), &small(seed));
    }
    let to = format!("{}/app", destination.host());
    let migration = Migration::new().rule(source.reference("app", "1,2,3,4"), to).args(["--referrers", "-w", "1"]);
    migration.run().await.assert_success(4);
    assert!((1..4).contains(&source.count(Kind::Referrers)), "{}", source.count(Kind::Referrers));
}

#[tokio::test]
async fn what_may_not_be_listed_is_told() {
    let (source, destination) = (registry(true).await, registry(true).await);
    source.put("app", "1", &small(1));
    source.on(Kind::Referrers, Answer::error(403, "DENIED", "no lists for you"));
    let outcome = migration(&source, &destination).run().await;
    outcome.assert_success(1);
    assert!(outcome.log.as_ref().unwrap().contains("no lists for you"), "{outcome}");
}

#[tokio::test]
async fn what_is_listed_for_whom_has_a_login_is_not_left_behind_without_one() {
    let (source, destination) = (registry(true).await, registry(true).await);
    source.put("app", "1", &small(1));
    let refusal = Answer::error(401, "UNAUTHORIZED", "authentication required");
    source.on(Kind::Referrers, refusal.header("WWW-Authenticate", "Basic realm=\"r\""));
    let outcome = migration(&source, &destination).run().await;
    outcome.assert_failures(1, 1, 0);
    let [line] = outcome.lines("FAILED")[..] else { panic!("{outcome}") };
    assert!(line.contains("the registry wants credentials and there are none"), "{line}");
}

#[tokio::test]
async fn registries_that_answer_strangely_have_no_api() {
    // A page for people, and the image itself under the tag of the list.
    for answer in [
        Answer::status(200).body("<html>"),
        Answer::status(401),
        Answer::error(404, "MANIFEST_UNKNOWN", "no"),
        Answer::error(400, "UNSUPPORTED", "no"),
    ] {
        let (source, destination) = (registry(true).await, registry(false).await);
        let subject = source.put("app", "1", &small(1));
        source.retag("app", "1", &tag(&subject));
        source.on(Kind::Referrers, answer);
        let outcome = migration(&source, &destination).run().await;
        outcome.assert_success(1);
        assert_eq!(destination.tags("app"), ["1"], "{outcome}");
        assert_eq!(source.count(Kind::Referrers), 1);
    }
}
