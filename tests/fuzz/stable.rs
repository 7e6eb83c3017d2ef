//! The targets without a fuzzer: over what is in the corpus, and over mutations of it by a seeded generator.
//!
//! | variable | means | default |
//! | --- | --- | --- |
//! | `FUZZ_ROUNDS` | mutations of each target | 200 |
//! | `FUZZ_SEED` | where the generator begins | 0 |
//!
//! An input that fails is made smaller, and then written to `artifacts/`, from where it goes into the corpus.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use crate::digest::Digest;

type Target = fn(&[u8]);

/// Longest input that is made.
const LONGEST: usize = 16 << 10;
/// Most memory that is held at a time for an input: so much, and so much for each of its bytes. What takes most is a
/// regular expression, of which the regex crate lets each compiled form have ten megabytes.
const MEMORY: (u64, u64) = (48 << 20, 1 << 10);

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz").join(name)
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect(variable))
}

/// Runs a target over its corpus, and over what can be made of it.
pub fn run(name: &str, target: Target) {
    let corpus = corpus(name);
    let words = words(name);
    for (file, input) in &corpus {
        check(name, target, input, &format!("corpus/{name}/{file}"));
    }
    let (seed, rounds) = (number("FUZZ_SEED", 0), number("FUZZ_ROUNDS", 200));
    let mut random = StdRng::seed_from_u64(seed);
    let inputs: Vec<&[u8]> = corpus.iter().map(|(_, input)| input.as_slice()).collect();
    for round in 0..rounds {
        let input = mutated(&inputs, &words, &mut random);
        check(name, target, &input, &format!("round {round} of FUZZ_SEED={seed}"));
    }
}

fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder("corpus").join(name)).expect("a corpus").map(|entry| entry.expect("an entry"));
    let read = |path: PathBuf| {
        (path.file_name().expect("a name").to_string_lossy().into_owned(), fs::read(path).expect("readable"))
    };
    let mut corpus: Vec<_> = entries.map(|entry| read(entry.path())).collect();
    corpus.sort();
    corpus
}

/// The words of a dictionary as libFuzzer reads it: one in quotes on each line, with `\\`, `\"` and `\xAB`.
fn words(name: &str) -> Vec<Vec<u8>> {
    let text = fs::read_to_string(folder("dictionaries").join(format!("{name}.dict"))).expect("a dictionary");
    let quoted = text.lines().filter_map(|line| line.strip_prefix('"')?.strip_suffix('"'));
    quoted.map(unescaped).collect()
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut word = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        (word, rest) = match (first, after) {
            (b'\\', [b'x', digits @ ..]) => {
                word.push(u8::from_str_radix(&text[text.len() - digits.len()..][..2], 16).expect("two digits"));
                (word, &digits[2..])
            }
            (b'\\', [escaped @ (b'\\' | b'"'), after @ ..]) => {
                word.push(*escaped);
                (word, after)
            }
            (b'\\', _) => panic!("libFuzzer does not know the escape in {text:?}"),
            _ => {
                word.push(*first);
                (word, after)
            }
        };
    }
    word
}

/// One of the inputs, changed in one to eight places.
fn mutated(inputs: &[&[u8]], words: &[Vec<u8>], random: &mut StdRng) -> Vec<u8> {
    let mut input = inputs.choose(random).map(|input| input.to_vec()).unwrap_or_default();
    for _ in 0..1 << random.random_range(0..4) {
        let (from, to) = part(input.len(), random);
        match random.random_range(0..8) {
            0 if !input.is_empty() => {
                let place = random.random_range(0..input.len());
                input[place] ^= 1 << random.random_range(0..8);
            }
            1 if !input.is_empty() => {
                let place = random.random_range(0..input.len());
                input[place] = *b" \n\r\t\0\"\\:/@,;=<>{}[]0-9az\xff\xc3".choose(random).expect("a byte");
            }
            2 => input.truncate(to),
            3 => _ = input.drain(from..to),
            4 => {
                let again = input[from..to].to_vec();
                input.splice(from..from, again);
            }
            // A part of another, or of itself.
            5 => {
                let other = inputs.choose(random).copied().unwrap_or_default();
                let (start, end) = part(other.len(), random);
                input.splice(from..to, other[start..end].iter().copied());
            }
            _ => {
                let word = words.choose(random).cloned().unwrap_or_default();
                let to = if random.random() { to } else { from };
                input.splice(from..to, word);
            }
        }
        input.truncate(LONGEST);
    }
    input
}

/// A part of something so long: short more often than not.
fn part(length: usize, random: &mut StdRng) -> (usize, usize) {
    let from = random.random_range(0..=length);
    let longest = if random.random_ratio(3, 4) { 12 } else { length };
    (from, random.random_range(from..=length.min(from + longest)))
}

/// Fails if the target does, with the least input that was found to make it.
fn check(name: &str, target: Target, input: &[u8], what: &str) {
    let Err(panic) = attempt(target, input) else { return };
    let least = shrunk(target, input.to_vec());
    let file = folder("artifacts").join(name).join(&Digest::of(&least).hex()[..16]);
    fs::create_dir_all(file.parent().expect("a folder")).and_then(|()| fs::write(&file, &least)).expect("writable");
    panic!("{name}, {what}: {panic}\nThe input is {}:\n{:?}", file.display(), String::from_utf8_lossy(&least));
}

fn attempt(target: Target, input: &[u8]) -> Result<(), String> {
    let mut outcome = Ok(());
    let memory = allocation_counter::measure(|| outcome = catch_unwind(AssertUnwindSafe(|| target(input))));
    outcome.map_err(|panic| match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic.downcast_ref::<&str>().unwrap_or(&"a panic").to_string(),
    })?;
    let most = MEMORY.0 + MEMORY.1 * input.len() as u64;
    if memory.bytes_max > most {
        return Err(format!("{} bytes of input took {} bytes of memory", input.len(), memory.bytes_max));
    }
    Ok(())
}

/// What is left when parts are taken out, as long as it fails.
fn shrunk(target: Target, mut input: Vec<u8>) -> Vec<u8> {
    let mut length = input.len() / 2;
    while length > 0 {
        let mut from = 0;
        while from < input.len() {
            let mut shorter = input.clone();
            shorter.drain(from..input.len().min(from + length));
            if attempt(target, &shorter).is_err() {
                input = shorter;
            } else {
                from += length;
            }
        }
        length /= 2;
    }
    input
}

/// Asserts that all that goes with a target is there, and nothing that goes with none.
pub fn assert_complete(targets: &[&str]) {
    let found = |name: &str, ending: &str| -> Vec<String> {
        let entries = fs::read_dir(folder(name)).expect(name);
        let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"));
        let mut names: Vec<String> =
            names.map(|name| name.strip_suffix(ending).unwrap_or_else(|| panic!("{name}")).to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(found("corpus", ""), targets);
    assert_eq!(found("dictionaries", ".dict"), targets);
    assert_eq!(found("fuzz_targets", ".rs"), targets);
    let manifest = fs::read_to_string(folder("Cargo.toml")).expect("readable");
    for target in targets {
        let path = format!("path = \"fuzz_targets/{target}.rs\"");
        assert!(manifest.contains(&path), "Cargo.toml has no binary with {path}");
        let call = format!("image_migrator::fuzz::{target}(data)");
        let text = fs::read_to_string(folder("fuzz_targets").join(format!("{target}.rs"))).expect("readable");
        assert!(text.contains(&call), "{target}.rs does not call {call}");
    }
}

#[test]
fn an_input_that_fails_is_made_smaller() {
    let fails: Target = |input| assert!(!input.windows(3).any(|word| word == b"abc"));
    assert_eq!(shrunk(fails, b"some text with abc in it, and again: abc".to_vec()), b"abc");
    let greedy: Target = |input| drop(Vec::<u8>::with_capacity(if input.contains(&b'x') { 64 << 20 } else { 0 }));
    assert!(attempt(greedy, b"x").unwrap_err().ends_with("bytes of memory"));
    assert_eq!(attempt(greedy, b"y"), Ok(()));
}

#[test]
fn the_words_of_a_dictionary_are_read_as_libfuzzer_does() {
    assert_eq!(unescaped(r#"a\"b\\\x0a\xffc"#), b"a\"b\\\n\xffc");
}
