//! SSH: russh, with a channel that is echoed.

use std::sync::Arc;

use real_peers::{assert_same, noise};
use russh::{
    Channel, Disconnect,
    client::{self, connect_stream},
    keys::{
        PrivateKey, PublicKeyOrCertificate,
        ssh_key::private::{Ed25519Keypair, KeypairData},
    },
    server::{self, Auth, ChannelOpenHandle, Msg, Session, run_stream},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, split};

use crate::support::{MIB, Ours, with_each_way_to_write};

#[tokio::test(flavor = "multi_thread")]
async fn russh_carries_a_channel() {
    let what = "a channel with 16 MiB";
    with_each_way_to_write("russh", what, async |client, server| {
        let server = tokio::spawn(serve(server));
        let length = exchange(client).await.unwrap();
        // the client goes without reading the last of what it gets, which can reset the connection
        let _ = server.await.unwrap();
        length
    })
    .await;
}

async fn exchange(client: Ours) -> Result<usize, russh::Error> {
    let mut session = connect_stream(Arc::default(), client, Trusting).await?;
    assert!(session.authenticate_none("anybody").await?.success());
    let channel = session.channel_open_session().await?;

    let data = noise(0, 16 * MIB);
    let mut received = Vec::new();
    let (mut reader, mut writer) = split(channel.into_stream());
    let write = async {
        writer.write_all(&data).await?;
        writer.shutdown().await
    };
    tokio::try_join!(write, reader.read_to_end(&mut received))?;
    assert_same(&received, &data);
    session.disconnect(Disconnect::ByApplication, "", "").await?;
    Ok(received.len())
}

async fn serve(server: Ours) -> Result<(), russh::Error> {
    let key = KeypairData::from(Ed25519Keypair::from_seed(&[1; 32]));
    let keys = vec![PrivateKey::try_from(key)?];
    let config = server::Config { keys, ..server::Config::default() };
    run_stream(Arc::new(config), server, Echoing).await?.await
}

struct Trusting;

impl client::Handler for Trusting {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

struct Echoing;

impl server::Handler for Echoing {
    type Error = russh::Error;

    async fn auth_none(&mut self, _: &str) -> Result<Auth, Self::Error> {
        Ok(Auth::Accept)
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        reply.accept().await;
        tokio::spawn(async {
            let (mut reader, mut writer) = split(channel.into_stream());
            // all of it first: over plain TCP too, russh can hang while it does both
            let mut received = Vec::new();
            reader.read_to_end(&mut received).await.unwrap();
            writer.write_all(&received).await.unwrap();
            writer.shutdown().await.unwrap();
        });
        Ok(())
    }
}
