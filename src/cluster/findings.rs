//! What a cluster uses: each image as it is written, with its users.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::kinds::Kind;
use super::objects::{Metadata, Object, OwnerReference, Spec};

/// All that was read of a cluster.
#[derive(Debug, Default)]
pub struct Findings {
    /// By what the manifests say.
    pub images: BTreeMap<String, Users>,
    /// How many objects of each kind were read.
    pub objects: BTreeMap<Kind, usize>,
    /// The namespaces in which there was an object.
    pub namespaces: BTreeSet<String>,
    /// What the account may not list.
    pub denied: Vec<Denied>,
    /// Who made the ReplicaSets, ReplicationControllers and Jobs that exist: (namespace, kind, name) to the kind and name of the maker.
    makers: BTreeMap<(Arc<str>, Kind, Arc<str>), Maker>,
    /// By namespace and maker: the newest of what makers have made that were not read themselves.
    newest: BTreeMap<(Arc<str>, Maker), Newest>,
}

/// The kind and name of whoever makes an object.
type Maker = (Arc<str>, Arc<str>);

/// The newest ReplicaSet or ReplicationController of a maker that was not read: what the maker itself says.
#[derive(Debug, Default)]
struct Newest {
    /// Number and time; where they say nothing, one that has pods.
    age: (u64, String, bool),
    /// None if it has pods: these were taken in with it.
    images: BTreeMap<String, Users>,
}

/// Who uses an image.
#[derive(Debug, Default)]
pub struct Users {
    pub uses: BTreeSet<Use>,
    /// Whether any of them would ever pull it.
    pub pulled: bool,
}

/// One place that names an image. A pod that somebody makes is named by its maker, which is what one would change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    pub namespace: Arc<str>,
    pub kind: Arc<str>,
    pub name: Arc<str>,
    /// The name of the container, or of the volume.
    pub container: Arc<str>,
    /// Which list of the pod spec it stands in.
    pub field: &'static str,
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, kind, name, container, .. } = self;
        write!(f, "{namespace}/{kind}/{name}/{container}")
    }
}

/// A list that the account may not see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    pub kind: Kind,
    /// `None` is all of them.
    pub namespace: Option<String>,
    /// What the API server said.
    pub message: String,
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in ", self.kind.plural())?;
        match &self.namespace {
            Some(namespace) => write!(f, "namespace {namespace}")?,
            None => f.write_str("all namespaces")?,
        }
        write!(f, ": {}", self.message)
    }
}

impl Findings {
    /// Takes in one object of a list. `covered` are the kinds that were read where this object is.
    pub fn take(&mut self, kind: Kind, object: &Object, covered: &[Kind]) {
        let metadata = &object.metadata;
        if !self.namespaces.contains(&metadata.namespace) {
            self.namespaces.insert(metadata.namespace.clone());
        }
        let controller = metadata.controller();
        if let Some(maker) = controller
            && matches!(kind, Kind::ReplicaSet | Kind::ReplicationController | Kind::Job)
        {
            let key = (Arc::from(&*metadata.namespace), kind, Arc::from(&*metadata.name));
            self.makers.insert(key, (Arc::from(&*maker.kind), Arc::from(&*maker.name)));
        }
        if is_past(kind, object, controller, covered) {
            return;
        }
        if let Some(owner) = controller
            && matches!(kind, Kind::ReplicaSet | Kind::ReplicationController)
            && !self.take_made(object, owner)
        {
            return;
        }
        let (kind, name) = match controller {
            Some(owner) if kind == Kind::Pod => self.maker(metadata, owner, covered),
            Some(owner) if matches!(kind, Kind::ReplicaSet | Kind::ReplicationController | Kind::Job) => {
                (Arc::from(&*owner.kind), Arc::from(&*owner.name))
            }
            _ => (Arc::from(kind.as_str()), Arc::from(&*metadata.name)),
        };
        take_pods(&mut self.images, &Arc::from(&*metadata.namespace), &kind, &name, object.spec.pods());
    }

    /// Takes in what is known only when all was read: what those use who have no pods now.
    pub fn finish(&mut self) {
        for (image, users) in std::mem::take(&mut self.newest).into_values().flat_map(|newest| newest.images) {
            let known = self.images.entry(image).or_default();
            known.pulled |= users.pulled;
            known.uses.extend(users.uses);
        }
    }

    /// Notes what a maker has made who was not read, such as a Rollout or a DeploymentConfig. Whether it has pods; if it
    /// has none, it counts in the end if it is the newest.
    fn take_made(&mut self, object: &Object, owner: &OwnerReference) -> bool {
        let has_pods = object.spec.replicas != Some(0);
        let (revision, created) = object.metadata.generation();
        let age = (revision, created.to_owned(), has_pods);
        let (namespace, maker) =
            (Arc::from(&*object.metadata.namespace), (Arc::from(&*owner.kind), Arc::from(&*owner.name)));
        let newest = self.newest.entry((Arc::clone(&namespace), maker.clone())).or_default();
        if age >= newest.age {
            *newest = Newest { age, images: BTreeMap::new() };
            if !has_pods {
                take_pods(&mut newest.images, &namespace, &maker.0, &maker.1, object.spec.pods());
            }
        }
        has_pods
    }

    /// Whoever is at the beginning of the chain that ends in a pod, as far as it is known.
    fn maker(&self, pod: &Metadata, owner: &OwnerReference, covered: &[Kind]) -> Maker {
        let itself = || (Arc::from(&*owner.kind), Arc::from(&*owner.name));
        let Some(kind) = Kind::named(owner.group(), &owner.kind) else {
            // A static pod is owned by its node, but defined by a file of its own.
            let is_static = owner.kind == "Node" && owner.group().is_empty();
            return if is_static { (Arc::from("Pod"), Arc::from(&*pod.name)) } else { itself() };
        };
        let key = (Arc::from(&*pod.namespace), kind, Arc::from(&*owner.name));
        if let Some(maker) = self.makers.get(&key) {
            return maker.clone();
        }
        // ReplicaSets that may not be read are told from their Deployment by the hash in their name.
        let hash = pod.labels.as_ref().and_then(|labels| labels.pod_template_hash.as_deref());
        let deployment =
            hash.and_then(|hash| owner.name.strip_suffix(hash)?.strip_suffix('-')).filter(|name| !name.is_empty());
        match deployment {
            Some(name) if kind == Kind::ReplicaSet && !covered.contains(&kind) => {
                (Arc::from(Kind::Deployment.as_str()), Arc::from(name))
            }
            _ => itself(),
        }
    }
}

fn take_pods(
    images: &mut BTreeMap<String, Users>,
    namespace: &Arc<str>,
    kind: &Arc<str>,
    name: &Arc<str>,
    pods: &Spec,
) {
    let lists = [
        ("containers", &pods.containers),
        ("initContainers", &pods.init_containers),
        ("ephemeralContainers", &pods.ephemeral_containers),
    ];
    let place = |container: &str, field| Use {
        namespace: namespace.clone(),
        kind: kind.clone(),
        name: name.clone(),
        container: container.into(),
        field,
    };
    for (field, list) in lists {
        for container in list.iter().flatten() {
            let policy = container.image_pull_policy.as_deref();
            add(images, container.image.as_deref(), policy, place(&container.name, field));
        }
    }
    for volume in pods.volumes.iter().flatten() {
        if let Some(image) = &volume.image {
            add(images, image.reference.as_deref(), image.pull_policy.as_deref(), place(&volume.name, "volumes"));
        }
    }
}

fn add(images: &mut BTreeMap<String, Users>, image: Option<&str>, policy: Option<&str>, place: Use) {
    // A template may leave the image to whoever fills it in; the pods then have it.
    let Some(image) = image.map(str::trim).filter(|image| !image.is_empty()) else { return };
    if !images.contains_key(image) {
        images.insert(image.to_owned(), Users::default());
    }
    if let Some(users) = images.get_mut(image) {
        users.pulled |= policy != Some("Never");
        users.uses.insert(place);
    }
}

/// Whether an object only tells what was: a ReplicaSet of somebody who was read, a Job that a CronJob has made, a pod
/// that has ended and that somebody else would make anew.
fn is_past(kind: Kind, object: &Object, controller: Option<&OwnerReference>, covered: &[Kind]) -> bool {
    let Some(owner) = controller else { return false };
    let maker_was_read = Kind::named(owner.group(), &owner.kind).is_some_and(|kind| covered.contains(&kind));
    match kind {
        Kind::ReplicaSet | Kind::ReplicationController | Kind::Job => maker_was_read,
        Kind::Pod => maker_was_read && matches!(object.status.phase.as_deref(), Some("Succeeded" | "Failed")),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
