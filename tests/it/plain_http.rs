//! A registry that speaks plain http is found to do so, however it takes it that TLS is spoken to it.

use scriptable_registry::Registry;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::support::{Migration, assert_same, small, two_registries};

/// The first byte of a TLS connection: a handshake (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;

/// What a server does that understands nothing of what it is sent.
#[derive(Clone, Copy)]
enum Unread {
    /// It closes the connection.
    Close,
    /// It closes it with bytes that it has not read, which resets it.
    Reset,
}

/// A server that answers nothing but http; it ends when this is dropped.
struct Front {
    host: String,
    task: JoinHandle<()>,
}

impl Front {
    async fn start(unread: Unread, http: Http) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, unread, http.clone()));
            }
        });
        Self { host, task }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What it answers to http.
#[derive(Clone)]
enum Http {
    /// What the registry at this address answers.
    Registry(String),
    /// This, whatever is asked.
    Answer(&'static str),
}

async fn serve(mut client: TcpStream, unread: Unread, http: Http) -> std::io::Result<()> {
    let mut first = [0];
    client.peek(&mut first).await?;
    match (first, unread, http) {
        ([HANDSHAKE], Unread::Close, _) => {
            let _ = client.read(&mut [0; 16 << 10]).await?;
        }
        ([HANDSHAKE], Unread::Reset, _) => {}
        (_, _, Http::Registry(host)) => {
            let mut registry = TcpStream::connect(host).await?;
            tokio::io::copy_bidirectional(&mut client, &mut registry).await?;
        }
        (_, _, Http::Answer(head)) => {
            let _ = client.read(&mut [0; 16 << 10]).await?;
            client.write_all(format!("HTTP/1.1 {head}\r\ncontent-length: 0\r\n\r\n").as_bytes()).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_server_that_closes_what_is_not_http_is_spoken_to_in_http() {
    for unread in [Unread::Close, Unread::Reset] {
        let (source, destination) = two_registries().await;
        source.put("app", "1", &small(1));
        let front = Front::start(unread, Http::Registry(destination.host())).await;
        let migration = Migration::new().rule(source.reference("app", "1"), format!("{}/app", front.host));
        migration.run().await.assert_success(1);
        assert_same((&source, "app", "1"), (&destination, "app", "1"));
    }
}

#[tokio::test]
async fn a_server_that_takes_no_http_or_leads_to_https_speaks_https() {
    let source = Registry::open().await;
    source.put("app", "1", &small(1));
    for answer in ["301 Moved\r\nlocation: https://127.0.0.1/", "400 Bad Request"] {
        let front = Front::start(Unread::Close, Http::Answer(answer)).await;
        let migration = Migration::new().rule(source.reference("app", "1"), format!("{}/app", front.host));
        let outcome = migration.run().await;
        outcome.assert_failures(1, 1, 0);
        outcome.assert_line("FAILED ", &[&format!("GET https://{}/v2/", front.host), "cannot connect"]);
    }
}
