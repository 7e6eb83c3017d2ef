//! What the guide says of messages is true of them.

use crate::architecture::sources;

/// All code without comments, texts that go over several lines in one.
fn code() -> String {
    let mut code = String::new();
    for (_, _, text) in sources() {
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with("//")) {
            match line.strip_suffix('\\') {
                Some(begun) => code.push_str(begun),
                None => code.extend([line, "\n"]),
            }
        }
    }
    code
}

#[test]
fn every_message_that_the_guide_explains_is_one() {
    let code = code();
    let guide = include_str!("../../examples/guide.md");
    let rows = guide.split("## Messages, and what to do").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
    let rows = rows.lines().filter(|line| line.starts_with("| `"));
    let spans: Vec<&str> = rows.flat_map(|row| row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2)).collect();
    assert!(spans.len() > 20, "{spans:?}");
    for span in spans {
        for part in span.split("...").map(str::trim).filter(|part| !part.is_empty()) {
            assert!(code.contains(part), "{part:?} of {span:?} is in no message");
        }
    }
}
