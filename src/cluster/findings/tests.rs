use super::*;

fn take(findings: &mut Findings, kind: Kind, covered: &[Kind], object: serde_json::Value) {
    findings.take(kind, &serde_json::from_value(object).unwrap(), covered);
}

fn metadata(name: &str, owner: Option<(&str, &str, &str)>) -> serde_json::Value {
    let mut metadata = serde_json::json!({ "name": name, "namespace": "n" });
    if let Some((api, kind, name)) = owner {
        let owner = serde_json::json!([{ "apiVersion": api, "kind": kind, "name": name, "controller": true }]);
        metadata["ownerReferences"] = owner;
    }
    metadata
}

fn pod(name: &str, owner: Option<(&str, &str, &str)>, images: &[&str]) -> serde_json::Value {
    let containers: Vec<_> = images.iter().map(|image| serde_json::json!({ "name": image, "image": image })).collect();
    serde_json::json!({ "metadata": metadata(name, owner), "spec": { "containers": containers } })
}

fn with_template(name: &str, owner: Option<(&str, &str, &str)>, replicas: i64, images: &[&str]) -> serde_json::Value {
    let template = serde_json::json!({ "spec": pod("", None, images)["spec"] });
    serde_json::json!({ "metadata": metadata(name, owner), "spec": { "replicas": replicas, "template": template } })
}

fn users(findings: &Findings) -> Vec<String> {
    let line = |(image, users): (&String, &Users)| {
        let users: Vec<String> = users.uses.iter().map(ToString::to_string).collect();
        format!("{image}: {}", users.join(" "))
    };
    findings.images.iter().map(line).collect()
}

const ALL: [Kind; 8] = Kind::ALL;

#[test]
fn a_pod_adds_what_its_makers_do_not_say() {
    let mut findings = Findings::default();
    take(&mut findings, Kind::Deployment, &[], with_template("web", None, 1, &["app:2"]));
    let owner = Some(("apps/v1", "Deployment", "web"));
    take(&mut findings, Kind::ReplicaSet, &ALL, with_template("web-1", owner, 1, &["app:1"]));
    take(&mut findings, Kind::ReplicaSet, &ALL, with_template("web-0", owner, 0, &["app:0"]));
    for number in 0..3 {
        let owner = Some(("apps/v1", "ReplicaSet", "web-1"));
        take(&mut findings, Kind::Pod, &ALL, pod(&format!("web-1-{number}"), owner, &["app:1", "sidecar"]));
    }
    assert_eq!(
        users(&findings),
        ["app:1: n/Deployment/web/app:1", "app:2: n/Deployment/web/app:2", "sidecar: n/Deployment/web/sidecar"]
    );
}

#[test]
fn replica_sets_of_earlier_rollouts_are_passed_over() {
    let mut findings = Findings::default();
    let rollout = Some(("argoproj.io/v1alpha1", "Rollout", "r"));
    take(&mut findings, Kind::ReplicaSet, &ALL, with_template("r-2", rollout, 2, &["a:2"]));
    take(&mut findings, Kind::ReplicaSet, &ALL, with_template("r-1", rollout, 0, &["a:1"]));
    take(&mut findings, Kind::ReplicaSet, &ALL, with_template("own", None, 0, &["b:1"]));
    findings.finish();
    assert_eq!(users(&findings), ["a:2: n/Rollout/r/a:2", "b:1: n/ReplicaSet/own/b:1"]);
}

#[test]
fn of_a_maker_without_pods_that_is_not_read_the_newest_replica_set_counts() {
    let made = |name: &str, owner: &str, replicas: i64, revision: &str, created: &str| {
        let owner = Some(("argoproj.io/v1alpha1", "Rollout", owner));
        let mut object = with_template(name, owner, replicas, &[name]);
        object["metadata"]["annotations"] = serde_json::json!({ "rollout.argoproj.io/revision": revision, "x": "y" });
        object["metadata"]["creationTimestamp"] = serde_json::json!(created);
        object
    };
    let mut findings = Findings::default();
    for object in [
        made("asleep-9", "asleep", 0, "9", ""),
        made("asleep-10", "asleep", 0, "10", ""),
        made("asleep-2", "asleep", 0, "2", ""),
        made("awake-1", "awake", 0, "1", ""),
        made("awake-2", "awake", 1, "2", ""),
        made("unnumbered-1", "unnumbered", 0, "", "2026-01-02T00:00:00Z"),
        made("unnumbered-0", "unnumbered", 0, "", "2026-01-01T00:00:00Z"),
        // Its maker says the newer, although the older has the pods: a Deployment would too.
        made("stuck-1", "stuck", 1, "1", ""),
        made("stuck-2", "stuck", 0, "2", ""),
    ] {
        take(&mut findings, Kind::ReplicaSet, &ALL, object);
    }
    let mut config = with_template("dc-2", Some(("apps.openshift.io/v1", "DeploymentConfig", "dc")), 0, &["dc:2"]);
    config["metadata"]["annotations"] = serde_json::json!({ "openshift.io/deployment-config.latest-version": "2" });
    take(&mut findings, Kind::ReplicationController, &ALL, config);
    findings.finish();
    assert_eq!(
        users(&findings),
        [
            "asleep-10: n/Rollout/asleep/asleep-10",
            "awake-2: n/Rollout/awake/awake-2",
            "dc:2: n/DeploymentConfig/dc/dc:2",
            "stuck-1: n/Rollout/stuck/stuck-1",
            "stuck-2: n/Rollout/stuck/stuck-2",
            "unnumbered-1: n/Rollout/unnumbered/unnumbered-1",
        ]
    );
}

#[test]
fn jobs_of_cron_jobs_are_covered_only_if_those_were_read() {
    let owner = Some(("batch/v1", "CronJob", "c"));
    let mut findings = Findings::default();
    take(&mut findings, Kind::Job, &[Kind::CronJob], with_template("c-1", owner, 1, &["old"]));
    let job = Some(("batch/v1", "Job", "c-1"));
    take(&mut findings, Kind::Pod, &ALL, pod("c-1-x", job, &["running"]));
    let mut ended = pod("c-1-y", job, &["ended"]);
    ended["status"] = serde_json::json!({ "phase": "Succeeded" });
    take(&mut findings, Kind::Pod, &ALL, ended.clone());
    assert_eq!(users(&findings), ["running: n/CronJob/c/running"]);
    take(&mut findings, Kind::Job, &[], with_template("c-2", owner, 1, &["old"]));
    take(&mut findings, Kind::Pod, &[], ended);
    assert_eq!(users(&findings), ["ended: n/CronJob/c/ended", "old: n/CronJob/c/old", "running: n/CronJob/c/running"]);
}

#[test]
fn static_pods_are_pods_and_those_of_operators_are_the_operators() {
    let mut findings = Findings::default();
    take(&mut findings, Kind::Pod, &ALL, pod("etcd-node1", Some(("v1", "Node", "node1")), &["etcd"]));
    take(&mut findings, Kind::Pod, &ALL, pod("pg-1", Some(("postgresql.cnpg.io/v1", "Cluster", "pg")), &["pg"]));
    take(&mut findings, Kind::Pod, &ALL, pod("alone", None, &["x"]));
    assert_eq!(users(&findings), ["etcd: n/Pod/etcd-node1/etcd", "pg: n/Cluster/pg/pg", "x: n/Pod/alone/x"]);
}

#[test]
fn a_deployment_is_known_by_the_hash_of_replica_sets_that_may_not_be_read() {
    let mut findings = Findings::default();
    let mut object = pod("web-5d4f8-x", Some(("apps/v1", "ReplicaSet", "web-5d4f8")), &["sidecar"]);
    object["metadata"]["labels"] = serde_json::json!({ "app": "web", "pod-template-hash": "5d4f8" });
    take(&mut findings, Kind::Pod, &[Kind::Deployment], object);
    assert_eq!(users(&findings), ["sidecar: n/Deployment/web/sidecar"]);
}

#[test]
fn every_place_of_a_pod_spec_is_read() {
    let mut findings = Findings::default();
    let object = serde_json::json!({ "metadata": metadata("p", None), "spec": {
        "containers": [{ "name": "a", "image": "main" }, { "name": "local", "image": "built", "imagePullPolicy": "Never" },
                       { "name": "open" }, { "name": "empty", "image": "" }],
        "initContainers": [{ "name": "b", "image": "init" }],
        "ephemeralContainers": [{ "name": "c", "image": "debug" }],
        "volumes": [{ "name": "d", "image": { "reference": "data", "pullPolicy": "Always" } }, { "name": "e", "emptyDir": {} }]
    }});
    take(&mut findings, Kind::Pod, &[], object);
    let fields: Vec<(&str, &str, bool)> = findings
        .images
        .iter()
        .map(|(image, users)| (image.as_str(), users.uses.first().unwrap().field, users.pulled))
        .collect();
    assert_eq!(
        fields,
        [
            ("built", "containers", false),
            ("data", "volumes", true),
            ("debug", "ephemeralContainers", true),
            ("init", "initContainers", true),
            ("main", "containers", true)
        ]
    );
}
