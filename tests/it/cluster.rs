//! `config`: images.json from what runs in a cluster, ready to migrate. The cluster is a small API server of the tests.

mod access;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::kube_api::KubeApi;
use crate::support::run::{Outcome, until_seen};
use crate::support::{Migration, assert_same, small, two_registries};

const TARGET: &str = "swr.cn-north-4.myhuaweicloud.com/test";

fn metadata(namespace: &str, name: &str) -> Value {
    json!({ "namespace": namespace, "name": name, "uid": "5f0c", "managedFields": [{ "manager": "kubectl" }] })
}

fn containers(images: &[&str]) -> Value {
    let container = |(index, image): (usize, &&str)| json!({ "name": format!("c{index}"), "image": image, "resources": {}, "imagePullPolicy": "IfNotPresent" });
    json!({ "containers": images.iter().enumerate().map(container).collect::<Vec<_>>() })
}

fn pod(namespace: &str, name: &str, images: &[&str]) -> Value {
    json!({ "metadata": metadata(namespace, name), "spec": containers(images), "status": { "phase": "Running" } })
}

/// Any workload with a template.
fn workload(namespace: &str, name: &str, images: &[&str]) -> Value {
    let template = json!({ "metadata": { "labels": { "app": name } }, "spec": containers(images) });
    json!({ "metadata": metadata(namespace, name), "spec": { "replicas": 1, "template": template }, "status": {} })
}

fn cron_job(namespace: &str, name: &str, images: &[&str]) -> Value {
    let job = json!({ "spec": workload(namespace, name, images)["spec"] });
    json!({ "metadata": metadata(namespace, name), "spec": { "schedule": "@daily", "jobTemplate": job } })
}

fn owned(mut object: Value, api: &str, kind: &str, name: &str) -> Value {
    object["metadata"]["ownerReferences"] =
        json!([{ "apiVersion": api, "kind": kind, "name": name, "uid": "1", "controller": true }]);
    object
}

/// `config` with a kubeconfig for an API server that admits everybody.
fn config(api: &KubeApi, arguments: &[&str]) -> Migration {
    with_kubeconfig(&api.kubeconfig(json!({})), arguments)
}

fn with_kubeconfig(kubeconfig: &str, arguments: &[&str]) -> Migration {
    let run = Migration::with_default_retries().args(["config", "-k", "kubeconfig"]);
    run.file("kubeconfig", kubeconfig).args(arguments.iter().copied())
}

fn images(run: &Migration) -> BTreeMap<String, Value> {
    serde_json::from_str(&std::fs::read_to_string(run.path("images.json")).unwrap()).unwrap()
}

/// Runs it and returns images.json.
async fn written(run: &Migration) -> BTreeMap<String, Value> {
    run.run().await.assert(0, &[]);
    images(run)
}

#[track_caller]
fn assert_fails(outcome: &Outcome, code: i32, words: &[&str]) {
    outcome.assert(code, &[]);
    for word in words {
        assert!(outcome.stderr.contains(word), "{word:?} is missing.\n{outcome}");
    }
}

#[tokio::test]
async fn every_kind_and_every_place_is_read() {
    let api = KubeApi::plain().await;
    let mut everywhere = pod("a", "bare", &["q.io/x/pod:1"]);
    everywhere["spec"]["initContainers"] = json!([{ "name": "i", "image": "q.io/x/init:1" }]);
    everywhere["spec"]["ephemeralContainers"] = json!([{ "name": "e", "image": "q.io/x/debug:1" }]);
    everywhere["spec"]["volumes"] =
        json!([{ "name": "v", "image": { "reference": "q.io/x/model:1" } }, { "name": "w" }]);
    let old = owned(workload("a", "web-0", &["q.io/x/old:1"]), "apps/v1", "Deployment", "web");
    let made = owned(workload("a", "web-1", &["q.io/x/web:1"]), "apps/v1", "Deployment", "web");
    let sidecar = pod("a", "web-1-x", &["q.io/x/web:1", "q.io/x/proxy:1"]);
    api.add("deployments", workload("a", "web", &["q.io/x/web:1"]))
        .add("replicasets", old)
        .add("replicasets", made)
        .add("replicasets", workload("a", "lone", &["q.io/x/set:1"]))
        .add("pods", owned(sidecar, "apps/v1", "ReplicaSet", "web-1"))
        .add("statefulsets", workload("b", "db", &["q.io/x/db:1"]))
        .add("daemonsets", workload("b", "agent", &["q.io/x/agent:1"]))
        .add("jobs", workload("b", "once", &["q.io/x/once:1"]))
        .add("cronjobs", cron_job("b", "nightly", &["q.io/x/nightly:1"]))
        .add("jobs", owned(workload("b", "nightly-1", &["q.io/x/nightly:0"]), "batch/v1", "CronJob", "nightly"))
        .add("replicationcontrollers", workload("c", "rc", &["q.io/x/rc:1"]))
        .add("pods", everywhere)
        .add("pods", owned(pod("c", "etcd-n1", &["q.io/x/etcd:1"]), "v1", "Node", "n1"));
    let run = config(&api, &["-t", TARGET, "--usage", "usage.json"]);
    let expected =
        ["agent", "db", "debug", "etcd", "init", "model", "nightly", "once", "pod", "proxy", "rc", "set", "web"];
    let expected: BTreeMap<String, Value> =
        expected.iter().map(|name| (format!("q.io/x/{name}:1"), json!(format!("{TARGET}/{name}")))).collect();
    assert_eq!(written(&run).await, expected);
    let usage: Value = serde_json::from_str(&std::fs::read_to_string(run.path("usage.json")).unwrap()).unwrap();
    assert_eq!(
        usage["q.io/x/proxy:1"],
        json!({ "destinations": [format!("{TARGET}/proxy")], "usedBy": [{ "namespace": "a", "kind": "Deployment",
            "name": "web", "container": "c1", "field": "containers", "image": "q.io/x/proxy:1" }] })
    );
    assert_eq!(usage["q.io/x/etcd:1"]["usedBy"][0]["name"], "etcd-n1");
    assert_eq!(usage["q.io/x/model:1"]["usedBy"][0]["field"], "volumes");
    assert_eq!(usage["q.io/x/web:1"]["usedBy"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_three_commands_of_old_work_as_they_stand() {
    let api = KubeApi::plain().await;
    api.add("deployments", workload("default", "web", &["nginx"]))
        .add("pods", pod("kube-system", "dns", &["q.io/dns:1"]));
    let nginx = ("docker.io/library/nginx:latest".to_owned(), json!(format!("{TARGET}/nginx")));
    let dns = ("q.io/dns:1".to_owned(), json!(format!("{TARGET}/dns")));
    for (arguments, expected) in [
        (vec!["-n", "default", "-t", TARGET], vec![nginx.clone()]),
        (vec!["-n", "default, kube-system,", "-t", TARGET], vec![nginx.clone(), dns.clone()]),
        (vec!["-t", TARGET], vec![nginx.clone(), dns]),
        (vec!["-n", "", "-t", ""], vec![(nginx.0, json!("")), ("q.io/dns:1".to_owned(), json!(""))]),
    ] {
        let run = Migration::with_default_retries().args(["config"]).args(arguments).env("DEFAULT_REGISTRY", "x.io");
        std::fs::create_dir(run.path(".kube")).unwrap();
        let run = run.file(".kube/config", api.kubeconfig(json!({})));
        assert_eq!(written(&run).await, BTreeMap::from_iter(expected));
    }
}

#[tokio::test]
async fn images_are_written_in_normal_form_and_what_cannot_be_pulled_is_named() {
    let digest = format!("sha256:{}", "0a".repeat(32));
    let (pinned, bare) = (format!("q.io/a/pinned:1@{digest}"), format!("q.io/a/bare@{digest}"));
    let api = KubeApi::plain().await;
    let mut never = pod("n", "never", &["loaded:1"]);
    never["spec"]["containers"][0]["imagePullPolicy"] = json!("Never");
    let there = format!("{TARGET}/there:1");
    api.add("pods", pod("n", "p", &["nginx", "index.docker.io/nginx:1", &pinned, &bare, &there]))
        .add("pods", pod("n", "q", &[&digest, "localhost/dev:1", "Not/An Image"]))
        .add("pods", never);
    let run = config(&api, &["-t", TARGET]);
    let outcome = run.run().await;
    outcome.assert(0, &[]);
    let expected = [
        ("docker.io/library/nginx:1", "nginx"),
        ("docker.io/library/nginx:latest", "nginx"),
        (&bare, "bare"),
        (&pinned, "pinned"),
    ];
    let expected = expected.map(|(source, name)| (source.to_owned(), json!(format!("{TARGET}/{name}"))));
    assert_eq!(images(&run), BTreeMap::from(expected));
    for image in [digest.as_str(), "localhost/dev:1", "Not/An Image", "loaded:1"] {
        outcome.assert_line(&format!("warning: {image:?} (n/Pod/"), &["is left out"]);
    }
    assert!(outcome.stderr.contains(&format!("since they are under {TARGET} already: 1 image\n")), "{outcome}");
}

#[tokio::test]
async fn what_stands_in_the_file_keeps_its_target_and_the_file_is_kept() {
    let api = KubeApi::plain().await;
    api.add("pods", pod("n", "p", &["bitnami/nginx:1"]));
    let run = config(&api, &["-t", TARGET]);
    let first = written(&run).await;
    assert_eq!(first, BTreeMap::from([("docker.io/bitnami/nginx:1".into(), json!(format!("{TARGET}/nginx")))]));
    api.add("pods", pod("n", "q", &["nginx:1", "quay.io/o/nginx:1"]));
    let outcome = run.run().await;
    outcome.assert(0, &[]);
    assert!(outcome.stderr.contains("images.json is kept as images.json.bak\n"), "{outcome}");
    let expected = [("bitnami/nginx:1", "nginx"), ("library/nginx:1", "library-nginx")];
    let mut expected: BTreeMap<String, Value> =
        expected.map(|(source, name)| (format!("docker.io/{source}"), json!(format!("{TARGET}/{name}")))).into();
    expected.insert("quay.io/o/nginx:1".into(), json!(format!("{TARGET}/o-nginx")));
    assert_eq!(images(&run), expected);
    assert_eq!(written(&run).await, expected);
    assert_eq!(run.files(), [".kube", "images.json", "images.json.bak", "images.json.bak.1", "kubeconfig"][1..]);
    let kept: BTreeMap<String, Value> =
        serde_json::from_str(&std::fs::read_to_string(run.path("images.json.bak")).unwrap()).unwrap();
    assert_eq!(kept, first);
}

#[tokio::test]
async fn standard_output_has_the_rules_and_nothing_else() {
    let api = KubeApi::plain().await;
    api.add("pods", pod("n", "p", &["q.io/b:1", "registry.k8s.io/a:1"]));
    let run = config(&api, &["-t", "t.io/n", "-o", "-", "--auth-skeleton", "auth.json"]);
    let outcome = run.run().await;
    outcome.assert(0, &["{", r#"    "q.io/b:1": "t.io/n/b","#, r#"    "registry.k8s.io/a:1": "t.io/n/a""#, "}"]);
    assert_eq!(run.files(), ["auth.json", "kubeconfig"]);
    let auth: Value = serde_json::from_str(&std::fs::read_to_string(run.path("auth.json")).unwrap()).unwrap();
    assert_eq!(auth["q.io"], json!({ "username": "${Q_IO_USERNAME}", "password": "${Q_IO_PASSWORD}" }));
    assert_eq!(auth["registry.k8s.io"], json!({}));
    assert_eq!(auth["t.io/n"]["password"], "${T_IO_N_PASSWORD}");
    for line in ["Read 1 workload in 1 namespace: 1 pod", "  q.io (1 image)", "  t.io/n (the target)"] {
        assert!(outcome.stderr.contains(line), "{line}\n{outcome}");
    }
}

#[tokio::test]
async fn thousands_of_pods_are_read_page_by_page_and_a_forgotten_list_is_begun_anew() {
    let api = KubeApi::plain().await;
    for number in 0..2_300 {
        api.add("pods", pod("n", &format!("p{number}"), &[&format!("q.io/a/i{}:1", number % 700)]));
    }
    api.forget_places(2).fail(&[503, 429]);
    let run = config(&api, &["-t", TARGET]);
    let outcome = run.run().await;
    outcome.assert(0, &[]);
    assert_eq!(images(&run).len(), 700);
    assert!(outcome.stderr.contains("Read 2300 workloads in 1 namespace: 2300 pods"), "{outcome}");
    let pods: Vec<_> = api.seen().into_iter().filter(|seen| seen.path == "/api/v1/pods").collect();
    assert!(pods.iter().all(|seen| seen.query["limit"] == "500"));
    assert_eq!(pods.iter().filter(|seen| !seen.query.contains_key("continue")).count(), 3);
    api.forget_places(1_000);
    assert_fails(&config(&api, &[]).run().await, 1, &["/api/v1/pods", "changes faster than it can be read"]);
}

#[tokio::test]
async fn an_old_cluster_has_its_cron_jobs_elsewhere() {
    let api = KubeApi::plain().await;
    api.add("cronjobs", cron_job("n", "c", &["q.io/c:1"])).absent("/apis/batch/v1/cronjobs");
    let run = config(&api, &["-t", TARGET]);
    assert_eq!(written(&run).await.into_keys().collect::<Vec<_>>(), ["q.io/c:1"]);
    assert!(api.paths().contains("/apis/batch/v1beta1/cronjobs"));
}

#[tokio::test]
async fn what_may_not_be_listed_is_named_and_the_rest_is_read() {
    let api = KubeApi::plain().await;
    api.add("pods", pod("a", "p", &["q.io/a:1"])).add("deployments", workload("b", "d", &["q.io/b:1"]));
    api.forbid("deployments", Some("a")).forbid("namespaces", None).forbid("cronjobs", None);
    let run = config(&api, &["-n", "a,b", "-t", TARGET]);
    let outcome = run.run().await;
    outcome.assert(0, &[]);
    assert_eq!(images(&run).into_keys().collect::<Vec<_>>(), ["q.io/a:1", "q.io/b:1"]);
    let warning = "warning: not read, so images may be missing: ";
    assert_eq!(outcome.stderr.matches(warning).count(), 3, "{outcome}");
    outcome.assert_line(&format!("{warning}deployments in namespace a: "), &["User \"u\" cannot list resource"]);
    for kind in ["deployments", "statefulsets", "daemonsets", "jobs", "replicasets", "replicationcontrollers", "pods"] {
        api.forbid(kind, None);
    }
    let run = config(&api, &[]);
    assert_fails(&run.run().await, 1, &["nothing of the cluster", "user \"u\"", "-n names those it may read"]);
    assert_eq!(run.files(), ["kubeconfig"]);
}

#[tokio::test]
async fn a_namespace_that_does_not_exist_is_told_and_nothing_is_written() {
    let api = KubeApi::plain().await;
    api.add("pods", pod("a", "p", &["q.io/a:1"]));
    let run = config(&api, &["-n", "a,b,c", "-t", TARGET]);
    assert_fails(&run.run().await, 1, &["has no namespace b, c"]);
    assert_eq!(run.files(), ["kubeconfig"]);
}

#[tokio::test]
async fn a_server_that_is_no_kubernetes_is_told_from_one_that_refuses() {
    let api = KubeApi::plain().await;
    api.absent("/");
    for arguments in [&[][..], &["-n", "a"]] {
        let run = config(&api, arguments);
        assert_fails(&run.run().await, 1, &["there is no Kubernetes at", &api.url()]);
        assert_eq!(run.files(), ["kubeconfig"]);
    }
}

#[tokio::test]
async fn an_empty_cluster_gives_an_empty_file() {
    let api = KubeApi::plain().await;
    let run = config(&api, &[]);
    assert_eq!(written(&run).await, BTreeMap::new());
}

#[tokio::test]
async fn wrong_usage_asks_nobody() {
    let api = KubeApi::plain().await;
    let refused: [(&[&str], &[&str]); 11] = [
        (&["-t", "test"], &["-t, --repo", "\"test\"", "registry/namespace"]),
        (&["-t", "https://q.io/a"], &["scheme"]),
        (&["-n", "a,B_b"], &["\"B_b\"", "namespace"]),
        (&["-o", "no/such/images.json"], &["no/such"]),
        (&["-o", "."], &["it is a directory"]),
        (&["-o", "x", "--usage", "./x"], &["named for two things"]),
        (&["--usage", "images.json"], &["images.json is named for two things"]),
        (&["-o", "kubeconfig"], &["kubeconfig is read and written"]),
        (&["--usage", "-"], &["--usage", "standard output"]),
        (&["-o", "broken.json"], &["broken.json", "choose another -o"]),
        (&["--workers", "3"], &["--workers"]),
    ];
    for (arguments, words) in refused {
        config(&api, arguments).file("broken.json", "{").run().await.assert_refused(words);
    }
    let run = Migration::with_default_retries().args(["--workers", "3", "config"]);
    run.run().await.assert_refused(&["config", "Usage: image-migrator"]);
    let run = Migration::with_default_retries().args(["config"]);
    run.run().await.assert_refused(&["there is no kubeconfig", ".kube/config does not exist", "-k, --kubeconfig"]);
    with_kubeconfig("a: [", &[]).run().await.assert_refused(&["cannot read the kubeconfig kubeconfig"]);
    assert!(api.seen().is_empty());
}

#[tokio::test]
async fn an_interruption_writes_nothing() {
    let api = KubeApi::plain().await;
    api.be_silent();
    let run = config(&api, &[]);
    let running = run.start().await;
    until_seen("a request", async || api.seen().pop()).await;
    running.signal("INT");
    assert_fails(&running.finish().await, 130, &["interrupted; nothing was written"]);
    assert_eq!(run.files(), ["kubeconfig"]);
}

#[tokio::test]
async fn what_is_written_migrates_as_it_stands() {
    let (source, destination) = two_registries().await;
    for (repository, tag, seed) in [("a/nginx", "1", 1), ("b/nginx", "1", 2), ("b/nginx", "2", 3), ("c/app", "x", 4)] {
        source.put(repository, tag, &small(seed));
    }
    let pinned = format!("{}/c/app:x@{}", source.host(), source.manifest("c/app", "x").unwrap().digest);
    let image = |name: &str| format!("{}/{name}", source.host());
    let api = KubeApi::plain().await;
    api.add("deployments", workload("n", "d", &[&image("a/nginx:1"), &image("b/nginx:1")]))
        .add("pods", pod("n", "p", &[&image("b/nginx:2"), &image("c/app:x"), &pinned]));
    let target = format!("{}/moved", destination.host());
    let run = config(&api, &["-t", &target]);
    let outcome = run.run().await;
    outcome.assert(0, &[]);
    let rules = std::fs::read_to_string(run.path("images.json")).unwrap();
    Migration::new().images(&rules).run().await.assert_success(5);
    for (from, tag, to) in [
        ("a/nginx", "1", "moved/a-nginx"),
        ("b/nginx", "1", "moved/b-nginx"),
        ("b/nginx", "2", "moved/b-nginx"),
        ("c/app", "x", "moved/app"),
    ] {
        assert_same((&source, from, tag), (&destination, to, tag));
    }
}

#[tokio::test]
async fn without_a_target_the_migrator_is_told_where_to() {
    let (source, destination) = two_registries().await;
    source.put("a/app", "1", &small(1));
    let api = KubeApi::plain().await;
    api.add("pods", pod("n", "p", &[&format!("{}/a/app:1", source.host())]));
    let run = config(&api, &[]);
    run.run().await.assert(0, &[]);
    let rules = std::fs::read_to_string(run.path("images.json")).unwrap();
    let defaults = ["--registry", &destination.host(), "--namespace", "moved"].map(str::to_owned);
    Migration::new().images(&rules).args(defaults).run().await.assert_success(1);
    assert_same((&source, "a/app", "1"), (&destination, "moved/app", "1"));
}
