//! HTTP: a server of hyper that echoes the bodies of requests.

use std::{
    convert::Infallible,
    error::Error,
    io::{self, ErrorKind},
};

use futures::{future::join_all, stream};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    Request, Response,
    body::{Bytes, Frame, Incoming},
    client::conn::{self as client, http1::SendRequest},
    server::conn as server,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use real_peers::{assert_same, noise};

use crate::support::{KIB, MIB, Ours, with_each_way_to_write};

#[tokio::test(flavor = "multi_thread")]
async fn http1_carries_bodies_one_after_the_other() {
    let what = "HTTP/1: a body of 32 MiB, one in chunks, and 100 small ones";
    with_each_way_to_write("hyper", what, over_http1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_carries_bodies_side_by_side() {
    let what = "HTTP/2: 20 bodies of 2 MiB at the same time";
    with_each_way_to_write("hyper", what, over_http2).await;
}

async fn over_http1(client: Ours, server: Ours) -> usize {
    let serve =
        server::http1::Builder::new().serve_connection(TokioIo::new(server), service_fn(echo));
    let server = tokio::spawn(serve);
    let (mut sender, connection) = client::http1::handshake(TokioIo::new(client)).await.unwrap();
    let client = tokio::spawn(connection);

    let large = noise(0, 32 * MIB);
    let response = post(&mut sender, whole(&large)).await;
    assert_eq!(response.headers()["content-length"], large.len().to_string());
    assert_body(response, &large).await;

    let response = post(&mut sender, in_chunks(&large)).await;
    assert_eq!(response.headers()["transfer-encoding"], "chunked");
    assert_body(response, &large).await;

    for seed in 0..100 {
        let small = noise(seed, 10 * KIB);
        let response = post(&mut sender, whole(&small)).await;
        assert_body(response, &small).await;
    }
    drop(sender);
    client.await.unwrap().unwrap();
    server.await.unwrap().unwrap();
    2 * large.len() + 100 * 10 * KIB
}

async fn over_http2(client: Ours, server: Ours) -> usize {
    let serve = server::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(server), service_fn(echo));
    let server = tokio::spawn(serve);
    let (sender, connection) =
        client::http2::handshake(TokioExecutor::new(), TokioIo::new(client)).await.unwrap();
    let client = tokio::spawn(connection);

    let exchanges = (0..20).map(|seed| {
        let mut sender = sender.clone();
        async move {
            let body = noise(seed, 2 * MIB);
            let response = sender.send_request(request(in_chunks(&body))).await.unwrap();
            assert_body(response, &body).await;
            body.len()
        }
    });
    let lengths = join_all(exchanges).await;
    drop(sender);
    client.await.unwrap().unwrap();
    assert_end(server.await.unwrap());
    lengths.iter().sum()
}

/// The client drops the connection right behind its close frame. The server says goodbye twice, in HTTP/2
/// and as a websocket; the second may meet the reset that is the answer to the first.
fn assert_end(served: hyper::Result<()>) {
    let Err(error) = served else { return };
    let kind = error.source().and_then(|cause| cause.downcast_ref()).map(io::Error::kind);
    assert!(matches!(kind, Some(ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)), "{error:?}");
}

async fn echo(request: Request<Incoming>) -> Result<Response<Incoming>, Infallible> {
    Ok(Response::new(request.into_body()))
}

async fn post(sender: &mut SendRequest<Outgoing>, body: Outgoing) -> Response<Incoming> {
    sender.ready().await.unwrap();
    sender.send_request(request(body)).await.unwrap()
}

fn request(body: Outgoing) -> Request<Outgoing> {
    Request::post("/").body(body).unwrap()
}

/// A body whose length is known.
fn whole(data: &[u8]) -> Outgoing {
    Full::new(Bytes::copy_from_slice(data)).boxed()
}

/// A body that comes bit by bit.
fn in_chunks(data: &[u8]) -> Outgoing {
    let chunks = data.chunks(100_000).map(Bytes::copy_from_slice).map(Frame::data).map(Ok);
    StreamBody::new(stream::iter(chunks.collect::<Vec<_>>())).boxed()
}

async fn assert_body(response: Response<Incoming>, expected: &[u8]) {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_same(&body, expected);
}

type Outgoing = BoxBody<Bytes, Infallible>;
