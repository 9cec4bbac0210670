//! What only bare clients and servers of HTTP/1.1 show.

use std::{convert::Infallible, sync::Arc};

use hyper::{Request, Response, body::Incoming, client, server, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    sync::Notify,
};
use tungstenite::protocol::Role;
use ws_stream_tungstenite::{
    TextMessages, WsClientUpgrade, WsClientUpgradeError, WsConfig, WsUpgrade, tungstenite,
};

use crate::{
    connections::{accepting, http1_server, on_tokio, read_head, read_to_end, request, told},
    support::{BINARY, CLOSE, TEXT, close_payload, frame, observe, parse, pattern},
};

#[test]
fn what_the_client_sends_with_its_request_is_read() {
    on_tokio(async {
        let (handle, mut accepted) = accepting(Ok);
        let mut client = http1_server(handle);
        let hello = frame(Role::Server, true, BINARY, b"hello ");
        let world = frame(Role::Server, true, BINARY, &pattern(0, 5000));
        let close = frame(Role::Server, true, CLOSE, &close_payload(1000, "bye"));
        let (half, rest) = world.split_at(2000);
        client.write_all(&[&request(&[]), &hello, half].concat()).await.unwrap();
        let mut stream = accepted.recv().await.unwrap().unwrap();
        let events = observe(&mut stream);
        client.write_all(&[rest, &close].concat()).await.unwrap();
        let (received, result) = read_to_end(stream).await;
        result.unwrap();
        assert_eq!(received, [b"hello ", &pattern(0, 5000)[..]].concat());
        assert_eq!(told(events).await, ["close 1000 \"bye\"", "closed"]);

        assert_eq!(read_head(&mut client).await.status(), 101);
        let mut sent = Vec::new();
        client.read_to_end(&mut sent).await.unwrap();
        let frames = parse(&sent, Role::Server);
        assert_eq!(frames.len(), 1, "{frames:?}");
        assert_eq!((frames[0].opcode, &frames[0].payload[..2]), (CLOSE, &[0x03, 0xE8][..]));
    });
}

#[test]
fn text_is_refused_or_taken_as_the_configuration_says() {
    for (text, expected) in [(TextMessages::Refuse, &b""[..]), (TextMessages::PassBytes, b"text")] {
        on_tokio(async {
            let config = WsConfig::new().text_messages(text);
            let (handle, mut accepted) = accepting(move |it| Ok(it.config(config.clone())));
            let mut client = http1_server(handle);
            let frame = frame(Role::Server, true, TEXT, b"text");
            client.write_all(&[request(&[]), frame].concat()).await.unwrap();
            let stream = accepted.recv().await.unwrap().unwrap();
            drop(client);
            assert_eq!(read_to_end(stream).await.0, expected, "{text:?}");
        });
    }
}

#[test]
fn a_server_without_upgrades_tells_the_waiting_task() {
    on_tokio(async {
        let (handle, mut accepted) = accepting(Ok);
        let (mut client, server) = duplex(1000);
        let service =
            service_fn(move |request| std::future::ready(Ok::<_, Infallible>(handle(request))));
        let connection = server::conn::http1::Builder::new();
        tokio::spawn(connection.serve_connection(TokioIo::new(server), service));
        client.write_all(&request(&[])).await.unwrap();
        let error = accepted.recv().await.unwrap().unwrap_err();
        assert!(error.is_user(), "{error:?}");
        assert_eq!(read_head(&mut client).await.status(), 101);
        assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
    });
}

#[test]
fn a_client_without_upgrades_is_told() {
    on_tokio(async {
        let transport = http1_server(accepting(Ok).0);
        let (mut sender, connection) =
            client::conn::http1::handshake(TokioIo::new(transport)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get("/").header("Host", "example.com");
        let mut request = request.body(String::new()).unwrap();
        let upgrade = WsClientUpgrade::new(&mut request);
        let response = sender.send_request(request).await.unwrap();
        match upgrade.finish(response).await {
            Err(WsClientUpgradeError::Hyper { source }) => assert!(source.is_user(), "{source:?}"),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_response_that_is_not_returned_leaves_the_task_waiting_until_the_connection_ends() {
    on_tokio(async {
        let (sender, mut accepted) = tokio::sync::mpsc::unbounded_channel();
        let mut client = http1_server(move |mut request| {
            let (_response, stream) = WsUpgrade::new(&mut request).unwrap().accept();
            let sender = sender.clone();
            tokio::spawn(async move { sender.send(stream.await).unwrap() });
            Response::new("thought better of it".into())
        });
        client.write_all(&request(&[])).await.unwrap();
        assert_eq!(read_head(&mut client).await.body, "thought better of it");
        drop(client);
        if let Ok(stream) = accepted.recv().await.unwrap() {
            assert_eq!(read_to_end(stream).await.0, b"");
        }
    });
}

#[test]
fn a_client_that_goes_away_before_the_response_does_not_keep_the_task_waiting() {
    on_tokio(async {
        let (handle, mut accepted) = accepting(Ok);
        let (client, server) = duplex(1000);
        let (asked, gone) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let handle = Arc::new(std::sync::Mutex::new(handle));
        let service = service_fn({
            let (asked, gone) = (asked.clone(), gone.clone());
            move |request: Request<Incoming>| {
                let (asked, gone, handle) = (asked.clone(), gone.clone(), handle.clone());
                async move {
                    let response = handle.lock().unwrap()(request);
                    asked.notify_one();
                    gone.notified().await;
                    Ok::<_, Infallible>(response)
                }
            }
        });
        let connection = server::conn::http1::Builder::new();
        let connection = connection.serve_connection(TokioIo::new(server), service);
        tokio::spawn(connection.with_upgrades());
        let mut client = client;
        client.write_all(&request(&[])).await.unwrap();
        asked.notified().await;
        drop(client);
        gone.notify_one();
        match accepted.recv().await.unwrap() {
            Err(error) => assert!(error.to_string() != "", "{error:?}"),
            Ok(stream) => assert_eq!(read_to_end(stream).await.0, b""),
        }
    });
}

#[test]
fn a_client_that_goes_away_behind_its_request_leaves_an_end_of_file() {
    on_tokio(async {
        let (handle, mut accepted) = accepting(Ok);
        let mut client = http1_server(handle);
        client.write_all(&request(&[])).await.unwrap();
        drop(client);
        if let Ok(stream) = accepted.recv().await.unwrap() {
            assert_eq!(read_to_end(stream).await.0, b"");
        }
    });
}

#[test]
fn a_future_that_is_dropped_takes_the_connection_with_it() {
    on_tokio(async {
        let mut client = http1_server(|mut request| {
            WsUpgrade::new(&mut request).unwrap().accept().0 // and no future
        });
        client.write_all(&request(&[])).await.unwrap();
        assert_eq!(read_head(&mut client).await.status(), 101);
        assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
    });
}
