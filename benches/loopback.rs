//! Loopback connections, as benches want them.

use std::{io, net::Ipv4Addr};

use rustix::net::sockopt::set_tcp_congestion;
use tokio::net::{TcpSocket, TcpStream};

/// The two ends of a connection without Nagle's algorithm, and without pacing.
pub(crate) async fn connect() -> io::Result<(TcpStream, TcpStream)> {
    let socket = unpaced()?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let listener = socket.listen(1)?;
    let client = unpaced()?.connect(listener.local_addr()?).await?;
    let (server, _) = listener.accept().await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    Ok((client, server))
}

/// A socket whose connection is not slowed down on purpose.
///
/// Some systems have BBR for a default, which paces what it sends, on loopback too: each small packet
/// then costs a timer, from some point of the connection on or not at all. Accepted connections are
/// like their listener.
fn unpaced() -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    set_tcp_congestion(&socket, "cubic").or_else(|_| set_tcp_congestion(&socket, "reno"))?;
    Ok(socket)
}
