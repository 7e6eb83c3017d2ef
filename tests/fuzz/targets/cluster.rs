//! What a cluster answers, and what manifests in it call images.

use std::collections::HashMap;

use super::findings::Findings;
use super::kinds::Kind;
use super::{Existing, Image, Inventory, api};
use crate::config::{Rule, Target};
use crate::fuzz::assert_one_line;

/// Between the parts of an input: the images.json that is there, and a page for each kind in the order in which they are read.
const BETWEEN: &str = "\n---\n";

/// Reads an image as a manifest names it; what it means, if anything.
pub fn image(text: &str) -> Option<String> {
    match Image::parse(text) {
        Ok(image) => {
            let key = image.to_string();
            assert_one_line(&key);
            assert_eq!(Image::parse(&key), Ok(image), "{key}");
            Some(key)
        }
        Err(error) => {
            assert_one_line(&error.to_string());
            None
        }
    }
}

pub fn cluster(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Some((earlier, pages)) = text.split_once(BETWEEN) else { return };
    let mut findings = Findings::default();
    let mut covered = Vec::new();
    for (kind, page) in Kind::ALL.into_iter().zip(pages.split(BETWEEN)) {
        match api::page(page.as_bytes()) {
            Ok(page) => {
                page.items.iter().flatten().for_each(|object| findings.take(kind, object, &covered));
                covered.push(kind);
            }
            Err(reason) => assert_one_line(&reason),
        }
    }
    findings.finish();
    let earlier = crate::config::fuzz::rules_of(earlier).map(|(rules, _)| rules).unwrap_or_default();
    for target in [None, Some("d.io/team"), Some("quay.io")] {
        let target: Option<Target> = target.and_then(|target| target.parse().ok());
        let (first, rules) = planned(&findings, target.as_ref(), &Existing::of(&earlier));
        // As the next run finds it.
        let (second, _) = planned(&findings, target.as_ref(), &Existing::of(&rules));
        if target.is_some() {
            assert_eq!(first, second, "what went somewhere goes there again");
        }
    }
}

/// The images.json for a target, and the rules in it that can be used as they stand.
fn planned(findings: &Findings, target: Option<&Target>, existing: &Existing) -> (String, Vec<Rule>) {
    let inventory = Inventory::of(findings, target, existing);
    inventory.warnings.iter().for_each(|warning| assert_one_line(warning));
    let images = inventory.images();
    let (rules, invalid) = crate::config::fuzz::rules_of(&images).expect("images.json");
    let open = inventory.plan.rules.values().flatten().filter(|destination| destination.is_empty()).count();
    assert_eq!(invalid.len(), open, "{invalid:?}");
    assert!(open == 0 || target.is_none(), "{images}");
    if target.is_some() {
        let mut places = HashMap::new();
        for (from, to) in rules.iter().flat_map(|rule| rule.images.fixed()) {
            let other = places.insert(to.clone(), from.clone()).filter(|other| *other != from);
            assert_eq!(other, None, "{from} goes to {to} as well");
        }
    }
    serde_json::from_str::<serde_json::Value>(&inventory.usage()).expect("JSON");
    crate::config::fuzz::skeleton(&inventory.auth_skeleton());
    (images, rules)
}
