//! Dockerfiles: `FROM`, `COPY --from=`, `RUN --mount=from=`, `# syntax=`, and the defaults of arguments that `FROM` uses.

mod syntax;

use std::collections::{BTreeSet, HashSet};

use super::arguments::{self, Arguments, Use};
use super::scan::Scan;
use syntax::Instruction;

/// Rewrites a Dockerfile. Comments stay, but for the parser's directives.
pub fn read(scan: &mut Scan) {
    let text = scan.text;
    if let Some(image) = syntax::directive(text, "syntax") {
        scan.image(image);
    }
    let mut stages = HashSet::new();
    let mut arguments = Arguments::default();
    let mut uses = Vec::new();
    let instructions = syntax::instructions(text);
    for instruction in &instructions {
        match instruction.keyword(text).as_str() {
            "FROM" => {
                uses.extend(from(text, instruction, &mut stages, &arguments));
                arguments.close();
            }
            "ARG" => arguments.add(text, &instruction.words[1..]),
            "COPY" | "ADD" | "RUN" => flags(scan, instruction, &stages),
            _ => {}
        }
    }
    let used: BTreeSet<(usize, usize)> =
        uses.iter().flat_map(Use::ranges).map(|range| (range.start, range.end)).collect();
    arguments::apply(scan, uses, &arguments);
    for instruction in &instructions {
        let keyword = instruction.keyword(text);
        for part in instruction.words.iter().chain(&instruction.documents).filter(|_| keyword != "FROM") {
            // What is used ends in the order in which it begins.
            if used.range((part.start, 0)..).next().is_none_or(|(_, end)| *end > part.end) {
                scan.prose(part.clone());
            }
        }
    }
}

/// The image of a `FROM`, if it is not an earlier stage.
fn from(text: &str, instruction: &Instruction, stages: &mut HashSet<String>, arguments: &Arguments) -> Option<Use> {
    let mut words = instruction.words.iter().skip(1).skip_while(|word| text[(*word).clone()].starts_with("--"));
    let image = arguments::unquoted(text, words.next()?.clone());
    let is_stage = stages.contains(&text[image.clone()].to_ascii_lowercase());
    if let (Some(_), Some(name)) = (words.next(), words.next()) {
        stages.insert(text[name.clone()].to_ascii_lowercase());
    }
    if is_stage { None } else { Some(arguments.expand(text, image)) }
}

/// Rewrites the images from which files are copied or mounted. Stages are no images, also not by number.
fn flags(scan: &mut Scan, instruction: &Instruction, stages: &HashSet<String>) {
    let text = scan.text;
    for word in instruction.words.iter().skip(1).take_while(|word| text[(*word).clone()].starts_with("--")) {
        let flag = &text[word.clone()];
        if !flag.starts_with("--from=") && !flag.starts_with("--mount=") {
            continue;
        }
        let key = ["--from=", "=from=", ",from="].into_iter().find_map(|key| Some(flag.find(key)? + key.len()));
        let Some(begin) = key else { continue };
        let image = flag[begin..].split(',').next().unwrap_or_default();
        if !stages.contains(&image.to_ascii_lowercase()) {
            scan.image(word.start + begin..word.start + begin + image.len());
        }
    }
}

#[cfg(test)]
mod tests;
