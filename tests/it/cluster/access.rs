//! How the program gets into a cluster: credentials of every form, proxies, kubeconfigs, and servers that are not there.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{TARGET, assert_fails, pod, with_kubeconfig, written};
use crate::support::Migration;
use crate::support::kube_api::{Admission, KubeApi, kubeconfig};
use crate::support::pki::Issued;
use crate::support::proxy::Proxy;

fn make_executable(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn credentials_of_every_form_open_the_cluster() {
    let api = KubeApi::tls().await;
    api.add("pods", pod("n", "p", &["q.io/a:1"]));
    let Issued { pem: certificate, key } = api.client_certificate();
    let credential = |status: Value| json!({ "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status });
    let by_token = credential(json!({ "token": "tok", "expirationTimestamp": "2999-01-01T00:00:00Z" }));
    let by_certificate = credential(json!({ "clientCertificateData": certificate, "clientKeyData": key }));
    let exec = |answer: &str| {
        json!({ "exec": { "apiVersion": "client.authentication.k8s.io/v1", "command": "./plugin.sh", "args": [answer],
            "env": [{ "name": "WHO", "value": "me" }], "interactiveMode": "IfAvailable", "provideClusterInfo": true } })
    };
    // As some tools leave it behind.
    let mut empty_token = exec("token.json");
    empty_token["token"] = json!("");
    let bearer = || Admission::Header("Bearer tok".to_owned());
    let basic = format!("Basic {}", STANDARD.encode("me:pa:ss"));
    let forms = [
        (json!({ "token": "tok" }), bearer()),
        (json!({ "tokenFile": "token" }), bearer()),
        (json!({ "tokenFile": "token", "token": "old" }), bearer()),
        (json!({ "tokenFile": "gone", "token": "tok" }), bearer()),
        (json!({ "username": "me", "password": "pa:ss" }), Admission::Header(basic)),
        (json!({ "client-certificate": "client.pem", "client-key": "client.key" }), Admission::Certificate),
        (
            json!({ "client-certificate-data": STANDARD.encode(&certificate), "client-key-data": STANDARD.encode(&key) }),
            Admission::Certificate,
        ),
        (exec("token.json"), bearer()),
        (exec("certificate.json"), Admission::Certificate),
        (empty_token, bearer()),
    ];
    for (user, admission) in forms {
        api.admit(admission);
        let run = with_kubeconfig(&api.kubeconfig(user.clone()), &["-t", TARGET])
            .file("token", "tok\n")
            .file("client.pem", &certificate)
            .file("client.key", &key)
            .file("token.json", by_token.to_string())
            .file("certificate.json", by_certificate.to_string())
            .file("plugin.sh", "#!/bin/sh\necho x >> runs\ntest \"$WHO\" = me || exit 1\necho \"$KUBERNETES_EXEC_INFO\" | grep -q certificate-authority-data || exit 1\ncat \"$1\"\n");
        make_executable(&run.path("plugin.sh"));
        let outcome = run.run().await;
        assert_eq!(outcome.code, Some(0), "{user}\n{outcome}");
        if user.get("exec").is_some() {
            assert_eq!(std::fs::read_to_string(run.path("runs")).unwrap(), "x\n", "it runs once");
        }
        assert_fails(
            &with_kubeconfig(&api.kubeconfig(json!({})), &[]).run().await,
            1,
            &["does not accept the credentials of user \"u\""],
        );
    }
}

#[tokio::test]
async fn a_plugin_that_fails_is_told_without_what_it_printed() {
    let api = KubeApi::plain().await;
    for (command, words) in
        [("./no-such", "which cannot be run"), ("./fails.sh", "which failed"), ("./odd.sh", "no ExecCredential")]
    {
        let user = json!({ "exec": { "command": command, "installHint": "install it with apt" } });
        let run = with_kubeconfig(&api.kubeconfig(user), &[])
            .file("fails.sh", "#!/bin/sh\necho s3cret; exit 3\n")
            .file("odd.sh", "#!/bin/sh\necho s3cret\n");
        make_executable(&run.path("fails.sh"));
        make_executable(&run.path("odd.sh"));
        let outcome = run.run().await;
        assert_fails(&outcome, 1, &[words, "user \"u\""]);
        assert!(!outcome.everything().contains("s3cret"), "{outcome}");
        assert_eq!(outcome.stderr.contains("install it with apt"), command == "./no-such", "{outcome}");
    }
}

#[tokio::test]
async fn proxies_names_and_impersonation_of_the_kubeconfig_count() {
    let api = KubeApi::tls().await;
    api.add("pods", pod("n", "p", &["q.io/a:1"]));
    let place = api.url().trim_start_matches("https://").to_owned();
    let proxy = Proxy::http(&[(&place, place.clone())]).await;
    let cluster = |field: &str, value: Value| {
        let mut cluster = api.cluster();
        cluster[field] = value;
        cluster
    };
    let run = with_kubeconfig(
        &kubeconfig(cluster("proxy-url", json!(format!("http://{}", proxy.address()))), json!({})),
        &[],
    );
    run.env("NO_PROXY", "*").run().await.assert(0, &[]);
    let unreachable = cluster("proxy-url", json!("http://me:s3cret@127.0.0.1:1"));
    let outcome = with_kubeconfig(&kubeconfig(unreachable, json!({})), &[]).run().await;
    assert_fails(&outcome, 1, &["cannot reach", "(through the proxy 127.0.0.1:1): connection refused"]);
    assert!(!outcome.everything().contains("s3cret"), "{outcome}");
    let user = json!({ "client-certificate": "gone.pem", "client-key": "gone.key" });
    with_kubeconfig(&api.kubeconfig(user), &[]).run().await.assert_refused(&["user \"u\"", "gone.pem"]);
    // A client may open a second connection while the first is busy; each leads to the API server.
    assert_eq!(BTreeSet::from_iter(proxy.asked()), BTreeSet::from([format!("CONNECT {place}")]));
    let run = with_kubeconfig(&kubeconfig(cluster("tls-server-name", json!("kubernetes.example")), json!({})), &[]);
    run.run().await.assert(0, &[]);
    let run = with_kubeconfig(&kubeconfig(cluster("tls-server-name", json!("other.example")), json!({})), &[]);
    assert_fails(&run.run().await, 1, &["its certificate is for another name"]);
    let stranger = json!({ "server": api.url() });
    let run = with_kubeconfig(&kubeconfig(stranger, json!({})), &[]);
    assert_fails(&run.run().await, 1, &["its certificate is signed by nobody known"]);
    let careless = json!({ "server": api.url(), "insecure-skip-tls-verify": true });
    with_kubeconfig(&kubeconfig(careless, json!({})), &[]).run().await.assert(0, &[]);
    let user = json!({ "as": "other", "as-groups": ["g1", "g2"], "as-uid": "7", "as-user-extra": { "scope": ["x"] } });
    with_kubeconfig(&api.kubeconfig(user), &[]).run().await.assert(0, &[]);
    let seen = api.seen().pop().unwrap();
    assert_eq!(seen.header("impersonate-user"), Some("other"));
    assert_eq!(seen.headers["impersonate-group"], ["g1", "g2"]);
    assert_eq!((seen.header("impersonate-uid"), seen.header("impersonate-extra-scope")), (Some("7"), Some("x")));
}

#[tokio::test]
async fn several_kubeconfigs_are_one_and_a_context_chooses() {
    let (here, there) = (KubeApi::plain().await, KubeApi::plain().await);
    here.add("pods", pod("n", "p", &["q.io/here:1"]));
    there.add("pods", pod("n", "p", &["q.io/there:1"]));
    let second = json!({ "kind": "Config", "apiVersion": "v1", "current-context": "there",
        "contexts": [{ "name": "there", "context": { "cluster": "d", "user": "" } }],
        "clusters": [{ "name": "d", "cluster": there.cluster() }] });
    for (arguments, expected) in [(&[][..], "q.io/here:1"), (&["--context", "there"], "q.io/there:1")] {
        let run = Migration::with_default_retries().args(["config"]).args(arguments.iter().copied());
        let run = run.file("one", here.kubeconfig(json!({}))).file("two", second.to_string());
        let run = run.env("KUBECONFIG", "no-such::one:two");
        assert_eq!(written(&run).await.into_keys().collect::<Vec<_>>(), [expected]);
    }
    let run = with_kubeconfig(&here.kubeconfig(json!({})), &["--context", "nowhere"]);
    run.run().await.assert_refused(&["no context \"nowhere\"", "it has: here"]);
}

#[tokio::test]
async fn a_server_that_is_not_there_or_is_something_else_is_told() {
    let gone = KubeApi::plain().await;
    let (kubeconfig_of_gone, url) = (gone.kubeconfig(json!({})), gone.url());
    drop(gone);
    tokio::task::yield_now().await;
    let outcome = with_kubeconfig(&kubeconfig_of_gone, &[]).run().await;
    assert_fails(&outcome, 1, &["cannot reach the API server", &url, "connection refused"]);
    let (plain, tls) = (KubeApi::plain().await, KubeApi::tls().await);
    let confused = json!({ "server": plain.url().replace("http:", "https:") });
    assert_fails(&with_kubeconfig(&kubeconfig(confused, json!({})), &[]).run().await, 1, &["does not speak TLS"]);
    let confused = json!({ "server": tls.url().replace("https:", "http:") });
    assert_fails(
        &with_kubeconfig(&kubeconfig(confused, json!({})), &[]).run().await,
        1,
        &["cannot reach the API server"],
    );
    let nowhere = json!({ "server": "https://no-such-host.invalid:6443" });
    assert_fails(
        &with_kubeconfig(&kubeconfig(nowhere, json!({})), &[]).run().await,
        1,
        &["cannot reach", "no-such-host.invalid"],
    );
}
