use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::cluster::access::{Wanted, open};

/// What a server that does something else than it should is made of.
#[derive(Clone, Copy)]
enum Server {
    /// Takes the request and says nothing.
    Silent,
    /// Sends one byte now and then, and never ends.
    Dripping,
    /// Sends one empty page of a list after the other, each of which names the next.
    Endless,
    /// Sends this and closes.
    Answer(&'static str),
}

async fn access(server: Server, patience: Patience) -> (Access, tempfile::TempDir) {
    access_by(server, patience, "{}").await
}

/// The same for a user with these credentials.
async fn access_by(server: Server, patience: Patience, user: &str) -> (Access, tempfile::TempDir) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut number = 0;
        while let Ok((mut stream, _)) = listener.accept().await {
            number += 1;
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                match server {
                    Server::Silent => std::future::pending().await,
                    Server::Dripping => {
                        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n").await;
                        while stream.write_all(b" ").await.is_ok() {
                            tokio::time::sleep(Duration::from_millis(5)).await;
                        }
                    }
                    Server::Endless => {
                        let page =
                            format!(r#"{{"kind": "PodList", "metadata": {{"continue": "{number}"}}, "items": []}}"#);
                        let head = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
                        let _ = stream.write_all(format!("{head}{page}").as_bytes()).await;
                    }
                    Server::Answer(text) => {
                        let _ = stream.write_all(text.as_bytes()).await;
                    }
                }
            });
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kubeconfig");
    let text = format!(
        "{{current-context: a, contexts: [{{name: a, context: {{cluster: c, user: u}}}}], users: [{{name: u, user: {user}}}], \
         clusters: [{{name: c, cluster: {{server: 'http://{address}'}}}}]}}"
    );
    std::fs::write(&file, text).unwrap();
    let wanted = Wanted { kubeconfig: Some(file), context: None };
    (open(&wanted, &|_| None, patience).await.unwrap(), folder)
}

const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(40);

#[tokio::test]
async fn a_server_that_says_nothing_is_not_waited_for_for_ever() {
    let (access, _folder) = access(Server::Silent, Patience { connect: LONG, silence: SHORT, page: LONG }).await;
    let error = list(&access, "/api/v1/pods", |_| ()).await.unwrap_err();
    assert!(matches!(&error, ApiError::Slow { path, .. } if path == "/api/v1/pods"), "{error}");
}

#[tokio::test]
async fn a_server_that_never_ends_is_not_waited_for_for_ever() {
    let (access, _folder) = access(Server::Dripping, Patience { connect: LONG, silence: LONG, page: SHORT }).await;
    let error = list(&access, "/api/v1/pods", |_| ()).await.unwrap_err();
    assert!(matches!(error, ApiError::Slow { .. }), "{error}");
}

#[tokio::test]
async fn what_is_no_api_server_is_told_by_its_first_words() {
    let page = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\n<html>";
    let (strange, _folder) = access(Server::Answer(page), Patience::default()).await;
    let error = list(&strange, "/api/v1/pods", |_| ()).await.unwrap_err().to_string();
    assert!(error.contains("is no list of Kubernetes"), "{error}");
    let page = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n\n  Use \x1b[1mhttps\n<more>";
    let (strange, _folder) = access(Server::Answer(page), Patience::default()).await;
    let error = list(&strange, "/api/v1/pods", |_| ()).await.unwrap_err().to_string();
    assert!(error.ends_with("answered /api/v1/pods with 400: Use [1mhttps"), "{error}");
    let page = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n{\"reason\": \"\\u001b[2JGone\"}";
    let (strange, _folder) = access(Server::Answer(page), Patience::default()).await;
    let error = list(&strange, "/api/v1/pods", |_| ()).await.unwrap_err().to_string();
    assert!(error.ends_with("with 400: [2JGone"), "{error}");
    let text = format!("{{\"items\": \"{}\"}}", "x".repeat(100_000));
    assert!(super::page(text.as_bytes()).unwrap_err().len() < 1_000, "not all of it is told");
}

#[tokio::test]
async fn a_list_that_leads_in_a_circle_ends() {
    let page = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"kind\":\"PodList\",\"metadata\":{\"continue\":\"a\"},\"items\":null}";
    let (circle, _folder) = access(Server::Answer(page), Patience::default()).await;
    let error = list(&circle, "/api/v1/pods", |_| ()).await.unwrap_err().to_string();
    assert!(error.contains("leads in a circle"), "{error}");
}

#[tokio::test]
async fn a_list_of_empty_pages_ends() {
    let (endless, _folder) = access(Server::Endless, Patience::default()).await;
    let error = list(&endless, "/api/v1/pods", |_| ()).await.unwrap_err().to_string();
    assert!(error.contains("goes on for ever: 5 pages in a row without an object"), "{error}");
}

#[tokio::test]
async fn what_a_server_repeats_of_a_token_is_not_told() {
    for (page, told) in [
        ("HTTP/1.1 403 No\r\nconnection: close\r\n\r\nbad s3cretTOKEN\n", "with 403: bad ***"),
        ("HTTP/1.1 401 No\r\nconnection: close\r\n\r\n{\"message\": \"bad s3cretTOKEN\"}", ": bad ***"),
        ("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"kind\": \"s3cretTOKEN\"}", "it is of the kind ***"),
    ] {
        let (access, _folder) = access_by(Server::Answer(page), Patience::default(), "{token: s3cretTOKEN}").await;
        let error = list(&access, "/api/v1/pods", |_| ()).await.unwrap_err().to_string();
        assert!(error.ends_with(told), "{error}");
    }
}

#[test]
fn an_answer_that_does_not_say_that_it_is_a_list_is_no_empty_one() {
    for (answer, reason) in [
        ("{}", "it does not say of which kind it is"),
        (r#"{"code": 401, "message": "token expired"}"#, "it does not say of which kind it is"),
        (r#"{"kind": "Status", "status": "Failure"}"#, "it is of the kind Status"),
        (r#"{"kind": "\u001b[2J\nx", "items": []}"#, "it is of the kind [2J x"),
    ] {
        assert_eq!(page(answer.as_bytes()).unwrap_err(), reason, "{answer}");
    }
    for answer in [r#"{"kind": "PodList", "items": []}"#, r#"{"kind": "List", "items": null}"#] {
        assert!(page(answer.as_bytes()).is_ok(), "{answer}");
    }
}

#[tokio::test]
async fn credentials_that_cannot_be_used_are_told_and_no_server_is_blamed() {
    let user = "{auth-provider: {name: oidc, config: {id-token: s3cret, idp-issuer-url: 'http://127.0.0.1:9'}}}";
    let (access, _folder) = access_by(Server::Silent, Patience::default(), user).await;
    let error = list(&access, "/api/v1/pods", |_| ()).await.unwrap_err().to_string();
    assert!(error.starts_with("the credentials of user \"u\" of context \"a\" cannot be used: "), "{error}");
    assert!(!error.contains("s3cret") && !error.contains("API server"), "{error}");
}
