//! Proxies: one that speaks HTTP and one that speaks SOCKS5. They know where a name leads that nobody else knows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A running proxy; it ends when this is dropped.
pub struct Proxy {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

/// From `name:port` as a client asks for it to where it is.
type Names = Arc<HashMap<String, String>>;

impl Proxy {
    /// One that passes on requests (`GET http://…`) and opens tunnels (`CONNECT`).
    pub async fn http(names: &[(&str, String)]) -> Self {
        Self::start(names, |stream, names, asked| async move { http(stream, names, asked).await }).await
    }

    /// One that is given names, not addresses (RFC 1928).
    pub async fn socks(names: &[(&str, String)]) -> Self {
        Self::start(names, |stream, names, asked| async move { socks(stream, names, asked).await }).await
    }

    async fn start<F>(
        names: &[(&str, String)],
        serve: impl Fn(TcpStream, Names, Arc<Mutex<Vec<String>>>) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = Option<()>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let names: Names = Arc::new(names.iter().map(|(name, to)| ((*name).to_owned(), to.clone())).collect());
        let seen = asked.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, names.clone(), seen.clone()));
            }
        });
        Self { address, asked, task }
    }

    /// `127.0.0.1:<port>`
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What it was asked for: the first line without its version, or `name:port`; with the user, if one was named.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn http(mut client: TcpStream, names: Names, asked: Arc<Mutex<Vec<String>>>) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let (line, headers) = head.split_once("\r\n")?;
    let mut words = line.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let user = headers.lines().find(|line| line.to_ascii_lowercase().starts_with("proxy-authorization: "));
    let user = user.map(|line| format!(" {}", line.split_once(": ").unwrap().1)).unwrap_or_default();
    asked.lock().unwrap().push(format!("{method} {target}{user}"));
    let host = target.strip_prefix("http://").unwrap_or(target);
    let (host, path) = host.split_once('/').unwrap_or((host, ""));
    let Some(to) = names.get(host) else {
        client.write_all(b"HTTP/1.1 502 Bad Gateway\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await.ok()?;
        return None;
    };
    let mut server = TcpStream::connect(to).await.ok()?;
    if method == "CONNECT" {
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.ok()?;
    } else {
        // One request a connection, so that the next one is seen as well.
        let headers = headers.replacen("\r\n", "\r\nconnection: close\r\n", 1);
        server.write_all(format!("{method} /{path} HTTP/1.1\r\n{headers}").as_bytes()).await.ok()?;
    }
    tokio::io::copy_bidirectional(&mut client, &mut server).await.ok()?;
    Some(())
}

async fn socks(mut client: TcpStream, names: Names, asked: Arc<Mutex<Vec<String>>>) -> Option<()> {
    let _version = client.read_u8().await.ok()?;
    let mut methods = vec![0; client.read_u8().await.ok()?.into()];
    client.read_exact(&mut methods).await.ok()?;
    client.write_all(&[5, 0]).await.ok()?;
    let mut head = [0; 4];
    client.read_exact(&mut head).await.ok()?;
    if head[3] != 3 {
        asked.lock().unwrap().push("an address".to_owned());
        client.write_all(&[5, 8, 0, 1, 0, 0, 0, 0, 0, 0]).await.ok()?;
        return None;
    }
    let mut name = vec![0; client.read_u8().await.ok()?.into()];
    client.read_exact(&mut name).await.ok()?;
    let name = format!("{}:{}", String::from_utf8(name).ok()?, client.read_u16().await.ok()?);
    asked.lock().unwrap().push(name.clone());
    let Some(to) = names.get(&name) else {
        client.write_all(&[5, 4, 0, 1, 0, 0, 0, 0, 0, 0]).await.ok()?;
        return None;
    };
    let mut server = TcpStream::connect(to).await.ok()?;
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.ok()?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await.ok()?;
    Some(())
}
