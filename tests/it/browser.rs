//! What the server of the example `browser` answers to the pages of others. A real browser visits it in
//! `tests/peers`.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
};

use crate::{
    examples,
    program::{PATIENCE, Program},
};

#[test]
fn the_pages_of_others_are_refused() {
    let (_server, url) = serve();
    let address = url.strip_prefix("http://").unwrap();
    for request in ["GET /echo?id=7", "POST /close"] {
        let status = request_from("http://elsewhere.example", address, request);
        assert!(status.contains("403 Forbidden"), "{request}: {status}");
    }
    assert!(request_from(&url, address, "GET /echo?id=7").contains("101 Switching Protocols"));
    assert!(request_from(&url, address, "POST /close").contains("200 OK"));
}

/// Sends a request as a browser does for a page of `origin`. Returns the first line of the answer.
fn request_from(origin: &str, address: &str, request: &str) -> String {
    let mut tcp = TcpStream::connect(address).unwrap();
    write!(
        tcp,
        "{request} HTTP/1.1\r\n\
         Host: {address}\r\n\
         Origin: {origin}\r\n\
         Connection: Upgrade\r\n\
         Upgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: c2l4dGVlbiBieXRlcyEhIQ==\r\n\r\n"
    )
    .unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    BufReader::new(tcp).lines().next().unwrap().unwrap()
}

/// Starts the example. Returns the address of its page too.
fn serve() -> (Program, String) {
    examples::run_example("browser", &["--help"]); // builds it
    let server = Program::start(&mut examples::command("browser", &["--port", "0"]));
    let listening = server.says("listening on ");
    (server, listening.rsplit(' ').next().unwrap().to_owned())
}
