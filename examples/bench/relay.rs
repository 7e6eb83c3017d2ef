//! A long way on loopback: a TCP relay that delivers everything later, since not every kernel can delay packets itself.
//!
//! As on a real connection a limited number of bytes is under way without having been acknowledged, which bounds what
//! one stream reaches.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

/// Bytes a second that one stream can reach.
const RATE: u64 = 80_000_000;
/// Bytes that are taken from a socket at once.
const PIECE: usize = 64 << 10;

/// A relay in front of a registry; it ends when this is dropped.
pub struct Relay {
    address: SocketAddr,
    listener: JoinHandle<()>,
}

impl Relay {
    /// Relays to `registry`, `delay` each way.
    pub async fn start(registry: SocketAddr, delay: Duration) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no port for a relay")?;
        let address = listener.local_addr()?;
        let listener = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // A connection that breaks is for its two ends to see.
                tokio::spawn(async move { connect(client, registry, delay).await.ok() });
            }
        });
        Ok(Self { address, listener })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

async fn connect(client: TcpStream, registry: SocketAddr, delay: Duration) -> std::io::Result<()> {
    // The handshake is a round trip of its own.
    sleep(delay * 2).await;
    let registry = TcpStream::connect(registry).await?;
    client.set_nodelay(true)?;
    registry.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_registry, to_registry) = registry.into_split();
    tokio::join!(carry(from_client, to_registry, delay), carry(from_registry, to_client, delay));
    Ok(())
}

/// One direction, until it ends.
async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, delay: Duration) {
    let round_trip = delay.as_secs_f64() * 2.0;
    let bytes = ((RATE as f64 * round_trip) as usize).max(PIECE);
    let window = Arc::new(Semaphore::new(bytes));
    let (sender, mut under_way) = mpsc::unbounded_channel();
    let read = async {
        let sender = sender;
        let mut piece = vec![0; PIECE];
        while let Ok(count @ 1..) = from.read(&mut piece).await {
            let Ok(room) = window.clone().acquire_many_owned(count as u32).await else { return };
            if sender.send((Instant::now() + delay, piece[..count].to_vec(), room)).is_err() {
                return;
            }
        }
    };
    let write = async {
        while let Some((arrival, piece, room)) = under_way.recv().await {
            sleep_until(arrival).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
            // The sender learns of the arrival as much later.
            tokio::spawn(async move {
                sleep(delay).await;
                drop(room);
            });
        }
        let _ = to.shutdown().await;
    };
    // Whoever cannot write any more need not read.
    tokio::pin!(read, write);
    tokio::select! {
        () = &mut read => write.await,
        () = &mut write => {}
    }
}
