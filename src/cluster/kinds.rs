//! The kinds of objects that are read, and where an API server lists them.

/// A kind of object that holds pod specs, in the order in which they are read: whoever makes others comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Deployment,
    StatefulSet,
    DaemonSet,
    CronJob,
    Job,
    ReplicaSet,
    ReplicationController,
    Pod,
}

impl Kind {
    pub const ALL: [Self; 8] = [
        Self::Deployment,
        Self::StatefulSet,
        Self::DaemonSet,
        Self::CronJob,
        Self::Job,
        Self::ReplicaSet,
        Self::ReplicationController,
        Self::Pod,
    ];

    pub fn as_str(self) -> &'static str {
        self.parts().0
    }

    /// The name of its list in URLs and roles.
    pub fn plural(self) -> &'static str {
        self.parts().1
    }

    /// The API group; empty for the core group.
    pub fn group(self) -> &'static str {
        self.parts().2
    }

    /// The kind `name` of an API group.
    pub fn named(group: &str, name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.group() == group && kind.as_str() == name)
    }

    /// The versions under which it may be served, the best first.
    pub fn versions(self) -> &'static [&'static str] {
        match self {
            // Kubernetes 1.21 was the first to have it as v1.
            Self::CronJob => &["v1", "v1beta1"],
            _ => &["v1"],
        }
    }

    /// Where its list is: in one namespace or in all.
    pub fn path(self, version: &str, namespace: Option<&str>) -> String {
        let api = match self.group() {
            "" => format!("/api/{version}"),
            group => format!("/apis/{group}/{version}"),
        };
        let plural = self.plural();
        match namespace {
            Some(namespace) => format!("{api}/namespaces/{namespace}/{plural}"),
            None => format!("{api}/{plural}"),
        }
    }

    fn parts(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Deployment => ("Deployment", "deployments", "apps"),
            Self::StatefulSet => ("StatefulSet", "statefulsets", "apps"),
            Self::DaemonSet => ("DaemonSet", "daemonsets", "apps"),
            Self::CronJob => ("CronJob", "cronjobs", "batch"),
            Self::Job => ("Job", "jobs", "batch"),
            Self::ReplicaSet => ("ReplicaSet", "replicasets", "apps"),
            Self::ReplicationController => ("ReplicationController", "replicationcontrollers", ""),
            Self::Pod => ("Pod", "pods", ""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_where_kubernetes_has_them() {
        assert_eq!(Kind::Pod.path("v1", None), "/api/v1/pods");
        assert_eq!(Kind::Deployment.path("v1", Some("web")), "/apis/apps/v1/namespaces/web/deployments");
        assert_eq!(Kind::CronJob.path("v1beta1", None), "/apis/batch/v1beta1/cronjobs");
        assert_eq!(Kind::named("apps", "ReplicaSet"), Some(Kind::ReplicaSet));
        assert_eq!(Kind::named("argoproj.io", "Rollout"), None);
    }
}
