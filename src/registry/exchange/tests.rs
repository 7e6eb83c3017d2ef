use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::registry::{Clients, Keyring};

#[test]
fn a_request_under_way_takes_little_room() {
    let clients = Clients::new(Arc::new(Keyring::default()), 1).unwrap();
    let client = clients.reader(&"r.example.com/a".parse().unwrap());
    let call = Call::new(Kind::Tags, Method::GET, "https://r.example.com/".parse().unwrap());
    let mut scope = client.scope(&Method::GET, None);
    // What is rare is boxed. Before it was, a request took 17 KB, and one blob's flight the stack of a thread.
    assert!(size_of_val(&client.call_within(&call, &mut scope)) <= 4 << 10);
}

/// Answers three connections: TLS is not spoken, `/v2/` is there, and of what is asked then this is the beginning.
async fn serve(listener: TcpListener, beginning: &str) -> TcpStream {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = [0; 1024];
        let length = stream.read(&mut asked).await.unwrap();
        let asked = String::from_utf8_lossy(&asked[..length]);
        if asked.starts_with("GET /v2/a/blobs/x ") {
            stream.write_all(beginning.as_bytes()).await.unwrap();
            return stream;
        }
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        stream.write_all(answer).await.unwrap();
    }
}

#[tokio::test]
async fn a_list_that_keeps_coming_is_read_to_its_end_for_ten_minutes() {
    for (pieces, comes) in [(10, true), (50, false)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let clients = Clients::new(Arc::new(Keyring::default()), 1).unwrap();
        let client = clients.reader(&format!("{address}/a").parse().unwrap());
        let url = format!("http://{address}/v2/a/blobs/x").parse().unwrap();
        let limit = 1 << 20;
        let call = Call { limit, ..Call::new(Kind::Tags, Method::GET, url) };
        let asking = tokio::spawn(async move { client.call(&call).await.map(|answer| answer.body.len()) });
        let piece = vec![b' '; 10_000];
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", pieces * piece.len());
        let mut stream = serve(listener, &head).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        tokio::time::pause();
        for _ in 0..pieces {
            let _ = stream.write_all(&piece).await;
            tokio::time::sleep(TIME_LIMIT / 3).await;
        }
        match asking.await.unwrap() {
            Ok(length) => assert!(comes && length == pieces * piece.len()),
            Err(error) => {
                assert!(!comes && error.to_string().contains("did not come within 10m"), "{error}")
            }
        }
        tokio::time::resume();
    }
}

#[tokio::test]
async fn what_follows_an_answer_that_should_have_no_body_spoils_no_other_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let clients = Clients::new(Arc::new(Keyring::default()), 1).unwrap();
    let client = clients.reader(&format!("{address}/a").parse().unwrap());
    let url: Url = format!("http://{address}/v2/a/blobs/x").parse().unwrap();
    let asking = tokio::spawn(async move {
        let call = |method| Call::new(Kind::BlobRead, method, url.clone());
        let head = client.call(&call(Method::HEAD)).await.map(|answer| answer.status);
        (head, client.call(&call(Method::GET)).await.map(|answer| answer.status))
    });
    // TLS is not spoken, and `/v2/` is there.
    let mut asked = [0; 1024];
    let mut stream = loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let length = stream.read(&mut asked).await.unwrap();
        if asked[..length].starts_with(b"HEAD ") {
            break stream;
        }
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        stream.write_all(answer).await.unwrap();
    };
    stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 9\r\n\r\n").await.unwrap();
    // The body comes when the next request is there.
    let length = stream.read(&mut asked).await.unwrap();
    assert!(asked[..length].starts_with(b"GET "));
    stream.write_all(b"not found").await.unwrap();
    let again = serve(listener, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let again = tokio::time::timeout(TIME_LIMIT * 2, again).await.expect("it is asked again");
    let (head, get) = asking.await.unwrap();
    assert_eq!((head.unwrap(), get.unwrap()), (StatusCode::NOT_FOUND, StatusCode::OK));
    drop(again);
}

#[tokio::test]
async fn a_refusal_whose_end_never_comes_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let clients = Clients::new(Arc::new(Keyring::default()), 1).unwrap();
    let client = clients.reader(&format!("{address}/a").parse().unwrap());
    let url = format!("http://{address}/v2/a/blobs/x").parse().unwrap();
    let opening = tokio::spawn(async move { client.open(&url, &HeaderMap::new()).await.map(drop) });
    let _stream = serve(listener, "HTTP/1.1 500 Oh\r\ncontent-length: 100\r\n\r\nno").await;
    // Its head arrives; from then on the clock goes forward as soon as all wait for it.
    tokio::time::sleep(Duration::from_millis(200)).await;
    tokio::time::pause();
    let opened = tokio::time::timeout(TIME_LIMIT * 3, opening).await.expect("it ends").unwrap();
    assert_eq!(opened.unwrap_err().kind, ErrorKind::TimedOut { after: TIME_LIMIT });
}

#[tokio::test]
async fn what_is_refused_for_its_rate_while_others_are_served_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let clients = Clients::new(Arc::new(Keyring::default()), 1).unwrap();
    let client = clients.reader(&format!("{address}/a").parse().unwrap());
    let (others, turn) = (client.clone(), (Kind::Tags, Method::GET));
    tokio::spawn(async move {
        let mut left = REFUSALS * 2;
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = [0; 1024];
            let length = stream.read(&mut asked).await.unwrap();
            let is_refused = left > 0 && asked[..length].starts_with(b"GET /v2/a/x ");
            if is_refused {
                left -= 1;
                others.client.pace.heed(&turn, Instant::now(), None, &HeaderMap::new(), None);
            }
            let status = if is_refused { "429 Too Many Requests" } else { "200 OK" };
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let call = Call::new(Kind::Tags, Method::GET, format!("http://{address}/v2/a/x").parse().unwrap());
    let status = client.call(&call).await.map(|answer| answer.status).map_err(|error| error.status());
    assert_eq!(status, Err(Some(StatusCode::TOO_MANY_REQUESTS)));
}
