//! What becomes of manifests: as they are, and as `--platform` and `--format` want them.

use std::collections::{HashMap, HashSet};
use std::future::ready;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::Conversion;
use super::convert::{Source, Target, Tree};
use crate::digest::Digest;
use crate::fuzz::{assert_one_line, now};
use crate::registry::{Content, Descriptor, Error, ErrorKind, Format, Manifest};

/// Between the documents of an input: the first is the root, the others are what it names.
const BETWEEN: &[u8] = b"\n---\n";

/// A registry that holds nothing but the documents of an input.
struct Shelf(HashMap<Digest, Vec<u8>>);

impl Shelf {
    fn find(&self, digest: &Digest) -> Result<Bytes, Error> {
        let absent = || Error {
            registry: "r.example.com".parse().expect("a registry"),
            asked: None,
            kind: ErrorKind::Malformed { reason: "it is not there".to_owned() },
        };
        self.0.get(digest).map(|bytes| Bytes::copy_from_slice(bytes)).ok_or_else(absent)
    }

    fn read(&self, child: &Descriptor) -> Result<Manifest, Error> {
        let bytes = self.find(&child.digest)?;
        let malformed = |reason| Error {
            registry: "r.example.com".parse().expect("a registry"),
            asked: None,
            kind: ErrorKind::Malformed { reason },
        };
        let manifest = Manifest::parse(bytes, child.digest.clone(), &child.media_type);
        manifest.map_err(|defect| malformed(defect.to_string()))
    }
}

impl Source for Shelf {
    fn manifest<'a>(&'a self, child: &'a Descriptor) -> BoxFuture<'a, Result<Manifest, Error>> {
        ready(self.read(child)).boxed()
    }

    fn config<'a>(&'a self, config: &'a Descriptor) -> BoxFuture<'a, Result<Bytes, Error>> {
        ready(self.find(&config.digest)).boxed()
    }
}

/// The documents of an input. A digest cannot be written before what it is of, so that `@1` stands for that of the first
/// document after the root, and `"#1"` for its size; in each document for those after it.
fn documents(data: &[u8]) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    let mut rest = data;
    while let Some(end) = rest.windows(BETWEEN.len()).position(|window| window == BETWEEN).filter(|_| parts.len() < 8) {
        parts.push(&rest[..end]);
        rest = &rest[end + BETWEEN.len()..];
    }
    parts.push(rest);
    let mut documents: Vec<Vec<u8>> = parts.iter().map(|part| part.to_vec()).collect();
    for number in (1..documents.len()).rev() {
        let (digest, size) = (Digest::of(&documents[number]).to_string(), documents[number].len().to_string());
        for document in &mut documents[..number] {
            let named = replaced(document, format!("@{number}").as_bytes(), digest.as_bytes());
            *document = replaced(&named, format!("\"#{number}\"").as_bytes(), size.as_bytes());
        }
    }
    documents
}

/// The text with each `from` as `to`; not without end.
fn replaced(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let (mut made, mut rest) = (Vec::new(), text);
    while let Some(at) = rest.windows(from.len()).position(|window| window == from).filter(|_| made.len() < 1 << 16) {
        made.extend_from_slice(&rest[..at]);
        made.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    made.extend_from_slice(rest);
    made
}

pub fn manifest(data: &[u8]) {
    let documents = documents(data);
    let Some((root, below)) = documents.split_first() else { return };
    let shelf = Shelf(below.iter().map(|document| (Digest::of(document), document.clone())).collect());
    below.iter().for_each(|document| drop(crate::registry::fuzz::manifest(document)));
    for manifest in crate::registry::fuzz::manifest(root) {
        for format in [Some(Format::Docker), Some(Format::Oci), None] {
            for platforms in ["", "linux/amd64", "linux/arm64,windows/amd64"] {
                let platforms = platforms.split(',').filter_map(|platform| platform.parse().ok()).collect();
                converted(&Conversion { platforms, format }, &manifest, &shelf);
            }
        }
    }
}

fn converted(conversion: &Conversion, root: &Manifest, shelf: &Shelf) {
    let tree = match now(conversion.apply(root.clone(), shelf)) {
        Ok(Target::Place(tree)) => tree,
        Ok(Target::Skip(platform)) => return assert_one_line(&platform.to_string()),
        Err(refusal) => {
            let failure = refusal.to_failure(&"r.example.com".parse().expect("a registry"));
            return assert_one_line(&failure.reason);
        }
    };
    if !conversion.changes_images() {
        assert_eq!(tree.root.bytes, root.bytes);
    }
    assert_eq!(tree.changes.is_empty(), tree.root.digest == root.digest, "each change is told, and no other");
    assert_whole(&tree, &known(root, shelf));
    let Content::Blobs(blobs) = &root.content else { return is_settled(conversion, &tree, shelf) };
    let Content::Blobs(kept) = &tree.root.content else { panic!("an image became an index") };
    let named = |blobs: &[Descriptor]| blobs.iter().map(|blob| (blob.digest.clone(), blob.size)).collect::<Vec<_>>();
    assert_eq!(named(kept), named(blobs), "the image has other blobs");
    is_settled(conversion, &tree, shelf);
    // Back again: with the same blobs, however it is written then.
    let back = Conversion { platforms: Vec::new(), format: conversion.format.map(Format::other) };
    if let Ok(Target::Place(tree)) = now(back.apply(tree.root, shelf)) {
        let Content::Blobs(kept) = &tree.root.content else { panic!("an image became an index") };
        assert_eq!(named(kept), named(blobs), "the image has other blobs");
    }
}

/// Asserts that a tree is what its digests say, and names nothing but what it has or the source names so.
fn assert_whole(tree: &Tree, known: &HashSet<(Digest, u64)>) {
    for manifest in std::iter::once(&tree.root).chain(tree.parts.values()) {
        assert_eq!(Digest::of(&manifest.bytes), manifest.digest);
        assert!(Manifest::parse(manifest.bytes.clone(), manifest.digest.clone(), &manifest.media_type).is_ok());
        let Content::Index { manifests, .. } = &manifest.content else { continue };
        for child in manifests {
            let part = tree.parts.get(&child.digest).filter(|part| part.bytes.len() as u64 == child.size);
            // What stays as it is may be named a second time with a size that nobody looks at.
            let is_known = part.is_some() || known.contains(&(child.digest.clone(), child.size));
            assert!(is_known, "{} is nowhere, or has another size", child.digest);
        }
    }
}

/// What the documents of the source name.
fn known(root: &Manifest, shelf: &Shelf) -> HashSet<(Digest, u64)> {
    let below = shelf
        .0
        .iter()
        .filter_map(|(digest, bytes)| Manifest::parse(Bytes::copy_from_slice(bytes), digest.clone(), "").ok());
    let mut known = HashSet::new();
    for manifest in below.chain([root.clone()]) {
        let (Content::Blobs(named) | Content::Index { manifests: named, .. }) = manifest.content;
        known.extend(named.into_iter().map(|named| (named.digest, named.size)));
    }
    known
}

/// Asserts that what was converted needs no second conversion.
fn is_settled(conversion: &Conversion, tree: &Tree, shelf: &Shelf) {
    let parts = tree.parts.values().map(|part| (part.digest.clone(), part.bytes.to_vec()));
    let both = Shelf(shelf.0.clone().into_iter().chain(parts).collect());
    match now(conversion.apply(tree.root.clone(), &both)) {
        Ok(Target::Place(again)) => assert_eq!(again.root.digest, tree.root.digest, "a second time changes it again"),
        Ok(Target::Skip(platform)) => panic!("it was not skipped before: {platform}"),
        Err(refusal) => panic!("it is refused the second time: {refusal}"),
    }
}
