//! YAML and JSON: where in the tree an image is expected.
//!
//! | where | of |
//! | --- | --- |
//! | `image`, `...Image`, `..._image`, `...-image` | Kubernetes, Compose, GitLab, charts, many more |
//! | `image.name`, `services[]`, `services[].name` | GitLab |
//! | `image.reference` of a volume | Kubernetes |
//! | `image[]`, `container[]` of a matrix | GitHub, GitLab |
//! | `container` of a job, `uses: docker://` | GitHub, Azure Pipelines |
//! | `dockerfile_inline`, `args[]` with `..._IMAGE=` | Compose |
//! | `value` beside `path: .../image` | JSON patches |
//! | values with a tag in `images: {NAME: ...}` | charts |
//! | `value`, `default` with a tag, beside `name: ..._IMAGE` | variables of Kubernetes, Tekton |
//! | `images[]` | lists, and kustomize's, also with Flux: see [`super::kustomize`] |
//! | `registry`, `repository`, `tag`, `digest` | charts: see [`super::group`] |
//!
//! In other values only references that need no context count. Keys and comments stay.

use std::ops::Range;
use std::path::Path;

use super::anchors::Anchors;
use super::group::{Scope, Surroundings, has_version_in};
use super::moves::{Found, Reason};
use super::scan::{Meaning, Scan};
use super::tree::{Mapping, Node, Scalar, Style, Tree, as_value};
use super::written::Written;
use super::{arguments, dockerfile, group, kustomize, lines, template};

/// So many files within files are read, one within the other.
const MAX_DEPTH: usize = 4;

/// What else is known of the file.
#[derive(Clone, Copy)]
pub struct Setting<'s> {
    pub services: Services,
    /// The images of what a kustomization is made of.
    pub bases: Option<&'s kustomize::Bases>,
}

/// What `services` lists, by the name of the file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Services {
    /// The images of GitLab.
    Images,
    /// Services of Travis CI and Bitbucket, which have names of their own.
    Names,
    Unknown,
}

impl Services {
    pub fn of(path: &Path) -> Self {
        let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        match &*name {
            ".travis.yml" | ".travis.yaml" | "bitbucket-pipelines.yml" | "bitbucket-pipelines.yaml" => Self::Names,
            _ if path.to_string_lossy().contains("gitlab-ci") => Self::Images,
            _ => Self::Unknown,
        }
    }
}

/// Rewrites a YAML file, or a template of one.
pub fn read(scan: &mut Scan, setting: &Setting) {
    let all = 0..scan.text.len();
    match parse(scan.text, &all) {
        Some(tree) => Walk::of(scan, setting, &tree, 0),
        None => lines::read(scan, all),
    }
    for action in template::mask(scan.text).unwrap_or_default().actions {
        scan.prose(action);
    }
}

fn parse(text: &str, range: &Range<usize>) -> Option<Tree> {
    let part = &text[range.clone()];
    let plain = Tree::parse_at(range.start, part, part);
    if plain.as_ref().is_some_and(|tree| !tree.is_template) {
        return plain;
    }
    template::mask(part).and_then(|masked| Tree::parse_at(range.start, part, &masked.text)).or(plain)
}

/// Whether the value of such a key is an image.
pub fn is_image_key(key: &str) -> bool {
    ["image", "IMAGE"].contains(&key) || ["Image", "_image", "-image", "_IMAGE"].iter().any(|end| key.ends_with(end))
}

/// Whether the items of such a list are images.
pub fn lists_images(parent: Option<&str>, key: &str) -> bool {
    is_image_key(key) || (key == "container" && parent == Some("matrix"))
}

struct Walk<'s, 'a, 't> {
    scan: &'s mut Scan<'a>,
    setting: &'s Setting<'s>,
    surroundings: Surroundings<'t>,
    /// In how many blocks, one within the other, it stands.
    depth: usize,
}

impl<'s, 'a, 't> Walk<'s, 'a, 't> {
    fn of(scan: &'s mut Scan<'a>, setting: &'s Setting<'s>, tree: &'t Tree, depth: usize) {
        let surroundings = Surroundings { anchors: Anchors::of(tree), scope: Scope::default() };
        let mut walk = Walk { scan, setting, surroundings, depth };
        tree.roots.iter().for_each(|root| walk.node(None, root));
        tree.plain.iter().for_each(|range| walk.scan.quote(range.clone()));
    }

    fn node(&mut self, key: Option<&str>, node: &'t Node) {
        match node {
            Node::Scalar(scalar) => self.prose(scalar),
            Node::Alias(_) => {}
            Node::Sequence(items) => items.iter().for_each(|item| self.node(None, item)),
            Node::Mapping(mapping) => self.mapping(key, mapping),
        }
    }

    fn mapping(&mut self, parent: Option<&str>, mapping: &'t Mapping) {
        let outer = self.surroundings.scope;
        self.surroundings.scope = outer.inside(mapping);
        let done = group::read(self.scan, parent, mapping, &self.surroundings);
        // What kustomize's `images` name may be in patches that stand beside them.
        let (images, others): (Vec<_>, Vec<_>) =
            mapping.entries().partition(|(key, _)| key.is_some_and(|key| key.value == "images"));
        for (key, value) in others.into_iter().chain(images) {
            let key = key.map(|key| key.value.as_str());
            let name = key.unwrap_or_default();
            if done.contains(&name) {
                continue;
            }
            match value {
                // Those of a HelmRelease are entries, as in a kustomization.
                Node::Sequence(items)
                    if name == "images"
                        && parent == Some("kustomize")
                        && !items.iter().any(|item| matches!(item, Node::Mapping(_))) =>
                {
                    items.iter().for_each(|item| self.replacement(item));
                }
                Node::Sequence(items) if name == "images" => self.images(mapping, items),
                Node::Sequence(items) if name == "services" => self.services(parent, mapping, items),
                Node::Sequence(items) if lists_images(parent, name) => {
                    items.iter().for_each(|item| self.listed(item));
                }
                Node::Scalar(scalar) if name == "dockerfile_inline" && scalar.style == Style::Literal => {
                    let lines = scalar.lines(self.scan.text);
                    self.scan.within(lines, dockerfile::read);
                }
                Node::Scalar(scalar) if expects_image(parent, name, scalar, mapping) => self.image(scalar),
                Node::Alias(anchor) => {
                    let scalar = self.surroundings.anchors.scalar(*anchor);
                    if let Some(scalar) = scalar.filter(|scalar| expects_image(parent, name, scalar, mapping)) {
                        self.image(scalar);
                    }
                }
                _ => self.node(key, value),
            }
        }
        self.surroundings.scope = outer;
    }

    /// One of several images.
    fn listed(&mut self, item: &'t Node) {
        match item {
            Node::Scalar(scalar) => self.image(scalar),
            _ => self.node(None, item),
        }
    }

    fn images(&mut self, parent: &Mapping, items: &'t [Node]) {
        let mut mappings = Vec::new();
        for item in items {
            match item {
                Node::Mapping(mapping) if kustomize::is_entry(mapping) => mappings.push(mapping),
                Node::Mapping(mapping) => {
                    mappings.push(mapping);
                    self.mapping(None, mapping);
                }
                _ => self.listed(item),
            }
        }
        let is_component = parent.scalar("kind").is_some_and(|kind| kind.value == "Component");
        // Where they are not in a kustomization's own file, as with Flux, what they change is somewhere else.
        let is_apart = is_component || self.setting.bases.is_none();
        kustomize::read(self.scan, &mappings, self.setting.bases, is_apart);
    }

    /// One of the images that Argo CD has kustomize replace: `[old=]new`. What is replaced keeps its name in manifests that
    /// are not here, and has the new one in those that are rewritten too, so that both are named.
    fn replacement(&mut self, item: &'t Node) {
        let Node::Scalar(scalar) = item else { return self.node(None, item) };
        let Some(range) = scalar.content() else { return self.prose(scalar) };
        if let Some((old, _)) = scalar.value.split_once('=') {
            return self.scan.image(range.start + old.len() + "=".len()..range.end);
        }
        match self.scan.meaning(range.start, &self.scan.text[range.clone()]) {
            Meaning::Moved(new) => {
                let name = Written::parse(&scalar.value, self.scan.moves.hosts()).map(|written| written.name);
                let text = self.scan.text;
                let quote = &text[scalar.raw.start..range.start];
                let next = self.scan.next_item(scalar.raw.start);
                // Quotes that are there stay around both.
                let needs_quotes = quote.is_empty() && as_value(&new) != new;
                let (outer, quote) = if needs_quotes { ("\"", "\"") } else { ("", quote) };
                let name = name.unwrap_or_default();
                let both = format!("{outer}{name}={new}{quote}{next}{quote}{new}{outer}");
                self.scan.replace(range, both);
            }
            Meaning::Same => {}
            Meaning::Other => self.prose(scalar),
        }
    }

    fn services(&mut self, parent: Option<&str>, mapping: &Mapping, items: &'t [Node]) {
        let is_gitlab = match self.setting.services {
            Services::Images => true,
            Services::Names => false,
            Services::Unknown => parent != Some("step") && is_job(mapping) && is_of_gitlab(mapping, items),
        };
        for item in items {
            match item {
                _ if is_gitlab => self.service(item),
                Node::Scalar(scalar) if self.setting.services == Services::Unknown && is_job(mapping) => {
                    self.unclear(scalar);
                }
                _ => self.node(None, item),
            }
        }
    }

    /// What may be an image, or the name of something else.
    fn unclear(&mut self, scalar: &Scalar) {
        let written = Written::parse(&scalar.value, self.scan.moves.hosts());
        let image = written.filter(|written| !written.is_open).map(|written| written.image());
        if image.is_some_and(|image| self.scan.moves.find(&image) != Found::Foreign) {
            self.scan.stays(scalar.raw.start, &scalar.value, Reason::Unclear);
        }
    }

    /// A service of GitLab is reached by the name of its image, so that name is kept as an alias.
    fn service(&mut self, item: &'t Node) {
        let (scalar, is_alone) = match item {
            Node::Scalar(scalar) => (scalar, true),
            Node::Mapping(mapping) => match mapping.scalar("name") {
                Some(name) if mapping.get("alias").is_some() => return self.image(name),
                Some(name) => (name, false),
                None => return self.mapping(None, mapping),
            },
            _ => return self.node(None, item),
        };
        let Some(range) = scalar.content() else { return self.prose(scalar) };
        let text = self.scan.text;
        let Meaning::Moved(moved) = self.scan.meaning(range.start, &text[range.clone()]) else { return };
        let alias = as_value(&alias(&scalar.value));
        let quotes = &text[scalar.raw.start..range.start];
        let moved = if quotes.is_empty() { as_value(&moved) } else { format!("{quotes}{moved}{quotes}") };
        let start = scalar.raw.start;
        let (open, name, separator, close) = match (is_alone, self.scan.new_line(start)) {
            (true, Some(line)) => ("", "name: ", line, ""),
            (true, None) => ("{", "name: ", ", ".to_owned(), "}"),
            // Behind `name: `, which stays.
            (false, _) => {
                let key = text[..start].trim_end().strip_suffix("name:").map(str::len);
                let line = key.and_then(|key| self.scan.new_line(key));
                ("", "", line.unwrap_or_else(|| ", ".to_owned()), "")
            }
        };
        self.scan.replace(scalar.raw.clone(), format!("{open}{name}{moved}{separator}alias: {alias}{close}"));
    }

    fn image(&mut self, scalar: &Scalar) {
        let content = scalar.content();
        if !self.surroundings.anchors.is_image(scalar) {
            if let Some(range) = content
                && let Meaning::Moved(to) = self.scan.meaning(range.start, &scalar.value)
            {
                self.scan.keeps(range.start, &scalar.value, Reason::Shared(to));
            }
            return;
        }
        match content.clone().or_else(|| scalar.only_line(self.scan.text)) {
            Some(range) if content.is_none() || scalar.value.starts_with('$') => self.scan.image(range),
            Some(range) => match self.scan.meaning(range.start, &self.scan.text[range.clone()]) {
                Meaning::Moved(text) => scalar.write(self.scan, &text),
                Meaning::Same => {}
                Meaning::Other => {
                    arguments::spread(self.scan, range);
                    self.prose(scalar);
                }
            },
            None if matches!(scalar.style, Style::Plain | Style::Quoted)
                && self.scan.escaped(scalar.raw.start, &scalar.value) => {}
            None => self.prose(scalar),
        }
    }

    /// A file within the file, as a ConfigMap has them, may be YAML itself.
    fn block(&mut self, scalar: &Scalar) {
        let range = scalar.lines(self.scan.text);
        let tree = parse(self.scan.text, &range).filter(|tree| tree.roots.iter().all(is_collection));
        match tree.filter(|_| self.depth < MAX_DEPTH) {
            Some(tree) => {
                let setting = Setting { bases: None, ..*self.setting };
                Walk::of(self.scan, &setting, &tree, self.depth + 1);
            }
            None => lines::read(self.scan, range),
        }
    }

    fn prose(&mut self, scalar: &Scalar) {
        if let Some(content) = scalar.content()
            && let Some((name, image)) = scalar.value.split_once('=')
            && is_image_key(name)
            && !name.contains(char::is_whitespace)
        {
            return self.scan.image(content.end - image.len()..content.end);
        }
        match scalar.style {
            Style::Literal => self.block(scalar),
            Style::Folded => lines::read(self.scan, scalar.raw.clone()),
            Style::Plain | Style::Quoted => {
                let offset = scalar.content().map_or(scalar.raw.start, |content| content.start);
                self.scan.unclear(offset, &scalar.value);
                self.scan.prose(scalar.raw.clone());
            }
        }
    }
}

/// What GitLab calls the host of a service: the name of its image without port and tag.
///
/// Source: `helpers/container/services` of GitLab Runner. Its other form, with `__`, is no name that DNS allows.
fn alias(image: &str) -> String {
    let name = image.split('@').next().unwrap_or_default();
    let (host, path) = name.split_once('/').map_or(("", name), |(host, path)| (host, path));
    let host = host.split(':').next().unwrap_or_default();
    let path = path.split(':').next().unwrap_or_default();
    [host, path].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/").replace('/', "-")
}

fn is_collection(node: &Node) -> bool {
    matches!(node, Node::Mapping(_) | Node::Sequence(_))
}

/// Whether `mapping` may be a job of a CI of which `services` are a part.
fn is_job(mapping: &Mapping) -> bool {
    ["script", "before_script", "stages"].iter().any(|key| mapping.get(key).is_some())
}

/// Whether there is something beside or in `services` that only GitLab has.
fn is_of_gitlab(mapping: &Mapping, services: &[Node]) -> bool {
    const KEYS: [&str; 8] = ["rules", "needs", "extends", "only", "except", "default", "include", "workflow"];
    KEYS.iter().any(|key| mapping.get(key).is_some())
        || services.iter().any(|service| match service {
            Node::Scalar(service) => service.value.contains([':', '/']),
            Node::Mapping(service) => service.scalar("name").is_some(),
            _ => false,
        })
}

pub fn expects_image(parent: Option<&str>, key: &str, scalar: &Scalar, mapping: &Mapping) -> bool {
    let has = |keys: &[&str]| keys.iter().any(|key| mapping.get(key).is_some());
    match key {
        "name" | "reference" => parent == Some("image"),
        // Of a JSON patch, RFC 6902.
        "value" if mapping.scalar("path").is_some_and(|path| path.value.ends_with("/image")) => true,
        // Of a variable. Without a tag it may be a name to which another one adds that.
        "value" | "default" => {
            let name = mapping.scalar("name").map(|name| name.value.as_str()).or(parent);
            name.is_some_and(is_image_key) && has_version_in(&scalar.value)
        }
        // In Azure Pipelines it may also be the name of one that is described elsewhere.
        "container" => has(&["runs-on"]) || (has(&["job", "pool", "steps"]) && scalar.value.contains([':', '/', '@'])),
        "uses" => scalar.value.starts_with("docker://"),
        _ => is_image_key(key) || (parent == Some("images") && has_version_in(&scalar.value)),
    }
}

#[cfg(test)]
mod tests;
