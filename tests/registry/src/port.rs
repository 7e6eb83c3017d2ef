//! A port of this machine that stays one's own, whether anybody listens there or not.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

/// A free port that nobody else is given while this lives. Connections are refused until somebody listens there who sets
/// `SO_REUSEADDR`, as servers do.
#[derive(Debug)]
pub struct Port {
    address: SocketAddr,
    /// Bound, but deaf. Elsewhere than on Linux nobody else could listen there then, and the port is free meanwhile.
    _socket: Option<TcpSocket>,
}

impl Port {
    /// Takes a free port.
    pub fn hold() -> Self {
        let socket = TcpSocket::new_v4().expect("there are sockets");
        socket.set_reuseaddr(true).expect("a new socket takes options");
        socket.bind(([127, 0, 0, 1], 0).into()).expect("a port is free");
        let address = socket.local_addr().expect("a bound socket has an address");
        Port { address, _socket: cfg!(target_os = "linux").then_some(socket) }
    }

    /// `127.0.0.1:<port>`
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Listens there. Once this has ended, it can be done again.
    pub(crate) async fn listen(&self) -> TcpListener {
        TcpListener::bind(self.address).await.expect("nobody else has the port")
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn nobody_is_there_but_who_listens() {
        let port = Port::hold();
        for _ in 0..2 {
            assert!(TcpStream::connect(port.address()).await.is_err());
            let listener = port.listen().await;
            let (client, server) = tokio::join!(TcpStream::connect(port.address()), listener.accept());
            assert_eq!(client.unwrap().local_addr().unwrap(), server.unwrap().1);
        }
    }
}
