//! TLS inside the websocket: tokio-rustls.

use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use real_peers::{assert_same, noise};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    client::TlsStream as ClientStream,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        pki_types::{PrivateKeyDer, ServerName},
    },
    server::TlsStream as ServerStream,
};

use crate::support::{MIB, Ours, with_each_way_to_write};

#[tokio::test(flavor = "multi_thread")]
async fn rustls_carries_both_directions_at_once_and_says_goodbye() {
    let what = "16 MiB in each direction, then the goodbyes of TLS and of the websocket";
    with_each_way_to_write("tokio-rustls", what, async |client, server| {
        let (mut client, mut server) = encrypt(client, server).await;
        let (upwards, downwards) = (noise(1, 16 * MIB), noise(2, 16 * MIB));
        tokio::join!(
            exchange(&mut client, &upwards, &downwards),
            exchange(&mut server, &downwards, &upwards),
        );
        client.shutdown().await.unwrap();
        // an error, if TLS did not say goodbye
        assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
        upwards.len() + downwards.len()
    })
    .await;
}

async fn encrypt(client: Ours, server: Ours) -> (ClientStream<Ours>, ServerStream<Ours>) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed([DOMAIN.to_owned()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let trusting = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let serving = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], PrivateKeyDer::from(signing_key))
        .unwrap();
    tokio::try_join!(
        TlsConnector::from(Arc::new(trusting))
            .connect(ServerName::try_from(DOMAIN).unwrap(), client),
        TlsAcceptor::from(Arc::new(serving)).accept(server),
    )
    .unwrap()
}

/// Sends and receives at the same time.
async fn exchange(stream: impl AsyncRead + AsyncWrite, sent: &[u8], expected: &[u8]) {
    let (mut reader, mut writer) = split(stream);
    let mut received = vec![0; expected.len()];
    let write = async {
        writer.write_all(sent).await?;
        writer.flush().await
    };
    tokio::try_join!(write, reader.read_exact(&mut received)).unwrap();
    assert_same(&received, expected);
}

const DOMAIN: &str = "localhost";
