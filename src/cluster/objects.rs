//! What is read of the answers of a Kubernetes API server: pod specs, owners, and how to get the next page.
//!
//! Whatever else an object holds is skipped while it is parsed, so a page costs little once it is read.

use serde::Deserialize;

/// One page of a list.
#[derive(Debug, Deserialize)]
pub struct Page {
    /// Such as `PodList`; of what is no list something else, or nothing.
    #[serde(default)]
    pub kind: String,
    #[serde(default)]
    pub metadata: ListMetadata,
    /// An empty list may be written as null.
    pub items: Option<Vec<Object>>,
}

#[derive(Debug, Default, Deserialize)]
pub struct ListMetadata {
    /// Where the next page begins; none or empty on the last one.
    #[serde(rename = "continue")]
    pub next: Option<String>,
}

/// A workload or pod of any kind.
#[derive(Debug, Deserialize)]
pub struct Object {
    #[serde(default)]
    pub metadata: Metadata,
    #[serde(default)]
    pub spec: Spec,
    #[serde(default)]
    pub status: Status,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    pub name: String,
    pub namespace: String,
    pub labels: Option<Labels>,
    pub annotations: Option<Annotations>,
    /// In UTC, so that later ones are greater as texts.
    pub creation_timestamp: Option<String>,
    pub owner_references: Option<Vec<OwnerReference>>,
}

#[derive(Debug, Default, Deserialize)]
pub struct Labels {
    #[serde(rename = "pod-template-hash")]
    pub pod_template_hash: Option<String>,
}

/// How those who make ReplicaSets and ReplicationControllers number them.
#[derive(Debug, Default, Deserialize)]
pub struct Annotations {
    #[serde(rename = "deployment.kubernetes.io/revision")]
    deployment: Option<String>,
    #[serde(rename = "rollout.argoproj.io/revision")]
    rollout: Option<String>,
    #[serde(rename = "openshift.io/deployment-config.latest-version")]
    deployment_config: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OwnerReference {
    pub api_version: String,
    pub kind: String,
    pub name: String,
    pub controller: Option<bool>,
}

/// The specs of all kinds in one: each kind fills its own fields.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Spec {
    pub replicas: Option<i64>,
    /// Of what makes pods.
    template: Option<Box<Template>>,
    /// Of a CronJob.
    job_template: Option<Box<Template>>,
    /// Of a pod, as the three that follow.
    pub containers: Option<Vec<Container>>,
    pub init_containers: Option<Vec<Container>>,
    pub ephemeral_containers: Option<Vec<Container>>,
    pub volumes: Option<Vec<Volume>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Template {
    spec: Spec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    pub name: String,
    pub image: Option<String>,
    pub image_pull_policy: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Volume {
    pub name: String,
    pub image: Option<ImageVolume>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ImageVolume {
    pub reference: Option<String>,
    pub pull_policy: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Status {
    pub phase: Option<String>,
}

impl Metadata {
    /// Who makes and replaces this object, if anybody does.
    pub fn controller(&self) -> Option<&OwnerReference> {
        self.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
    }

    /// Which of the objects that one controller has made it is: the greater, the newer.
    pub fn generation(&self) -> (u64, &str) {
        let given = self.annotations.as_ref();
        let revision = given.and_then(|given| {
            given.rollout.as_ref().or(given.deployment_config.as_ref()).or(given.deployment.as_ref())?.parse().ok()
        });
        (revision.unwrap_or_default(), self.creation_timestamp.as_deref().unwrap_or_default())
    }
}

impl OwnerReference {
    /// The API group, without its version; empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }
}

impl Spec {
    /// The spec of the pods: this one, or that of the templates within.
    pub fn pods(&self) -> &Spec {
        match self.job_template.as_deref().or(self.template.as_deref()) {
            Some(template) => template.spec.pods(),
            None => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_found_at_any_depth() {
        let text = r#"{"kind": "CronJobList", "metadata": {"continue": "abc", "resourceVersion": "1"}, "items": [{
            "metadata": {"name": "a", "namespace": "b", "managedFields": [{"x": [1, 2]}]},
            "spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": {"spec": {
                "containers": [{"name": "c", "image": "d"}], "initContainers": null}}}}}, "status": {}}]}"#;
        let page: Page = serde_json::from_str(text).unwrap();
        assert_eq!(page.metadata.next.as_deref(), Some("abc"));
        let items = page.items.unwrap();
        let pods = items[0].spec.pods();
        assert_eq!(pods.containers.as_ref().unwrap()[0].image.as_deref(), Some("d"));
        assert!(pods.init_containers.is_none());
        let page: Page = serde_json::from_str(r#"{"kind": "List", "metadata": {}, "items": null}"#).unwrap();
        assert!(page.items.is_none() && page.metadata.next.is_none());
    }

    #[test]
    fn only_a_controller_is_an_owner_that_matters() {
        let text = r#"{"ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n"},
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "controller": true}]}"#;
        let metadata: Metadata = serde_json::from_str(text).unwrap();
        let controller = metadata.controller().unwrap();
        assert_eq!((controller.group(), controller.name.as_str()), ("apps", "r"));
    }
}
