//! A websocket over TLS (`wss`), with rustls and a certificate made on the spot.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use async_tungstenite::tokio::TokioAdapter;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, try_join};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        pki_types::{PrivateKeyDer, ServerName},
    },
};
use ws_stream_tungstenite::WsStream;

#[tokio::main]
async fn main() -> Result<()> {
    let (acceptor, connector) = configure_tls()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let tcp = TcpStream::connect(listener.local_addr()?).await?;
    let server = tokio::spawn(async move { serve(&listener, acceptor).await });

    let mut stream = connect(tcp, connector).await?;
    let received = send_and_receive(&mut stream).await?;
    ensure!(received == test_data(), "the echo differs from what was sent");
    println!("client: {} MiB came back over TLS, unchanged", received.len() / MIB);

    // Resolves when TCP has the close frame. TLS encrypts into a buffer of its own: that it took
    // the frame does not mean that the frame left. So closing flushes TLS too.
    stream.close().await?;
    let rest = stream.read_to_end(&mut Vec::new()).await?;
    ensure!(rest == 0, "there was nothing left to echo");
    println!("client: closed");

    let echoed = server.await?.context("the server failed")?;
    println!("server: echoed {} MiB and closed", echoed / MIB);
    Ok(())
}

/// Both sides of TLS. The client trusts this certificate and no other.
fn configure_tls() -> Result<(TlsAcceptor, TlsConnector)> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([DOMAIN.to_owned()])?;
    let key = PrivateKeyDer::from(signing_key);
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone())?;

    let server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)?;
    let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Ok((Arc::new(server).into(), Arc::new(client).into()))
}

/// Echoes what one client sends until it closes. Returns how many bytes that were.
async fn serve(listener: &TcpListener, acceptor: TlsAcceptor) -> Result<usize> {
    let (tcp, _) = listener.accept().await?;
    tcp.set_nodelay(true)?;
    let tls = acceptor.accept(tcp).await.context("the TLS handshake failed")?;
    let mut stream = WsStream::accept(TokioAdapter::new(tls), None).await?;

    let mut buffer = vec![0; 64 * 1024];
    let mut echoed = 0;
    loop {
        // End of file comes after both close frames and after TLS was shut down properly.
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            return Ok(echoed);
        }
        stream.write_all(&buffer[..length]).await?;
        echoed += length;
    }
}

async fn connect(
    tcp: TcpStream,
    connector: TlsConnector,
) -> Result<WsStream<TokioAdapter<TlsStream<TcpStream>>>> {
    tcp.set_nodelay(true)?;
    let tls = connector.connect(ServerName::try_from(DOMAIN)?, tcp).await?;
    // TLS is there already: the URL only tells what to ask for
    let request = format!("wss://{DOMAIN}/");
    let (stream, _response) = WsStream::connect(request, TokioAdapter::new(tls), None).await?;
    Ok(stream)
}

/// Sends the test data and receives as much.
async fn send_and_receive(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<Vec<u8>> {
    let (mut reader, mut writer) = stream.split();
    let data = test_data();
    let mut received = vec![0; data.len()];
    try_join!(
        async {
            writer.write_all(&data).await?;
            writer.flush().await
        },
        reader.read_exact(&mut received),
    )?;
    Ok(received)
}

/// Some MiB in which no two places look alike.
fn test_data() -> Vec<u8> {
    (0_u32..).flat_map(u32::to_be_bytes).take(8 * MIB).collect()
}

const MIB: usize = 1024 * 1024;

/// The name in the certificate.
const DOMAIN: &str = "localhost";
