//! Every example runs to its end by itself, except `browser`, which has a test of its own, and `axum`,
//! which is tested in `tests/peers`.

use std::process::{Command, Output};

use crate::program::Program;

/// An example with the features that this test was built with.
pub fn command(name: &str, arguments: &[&str]) -> Command {
    let mut features = Vec::new();
    features.extend(cfg!(feature = "tokio_io").then_some("tokio_io"));
    features.extend(cfg!(feature = "handshake").then_some("handshake"));
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["run", "--quiet", "--features", &features.join(","), "--example", name, "--"])
        .args(arguments);
    command
}

pub fn run_example(name: &str, arguments: &[&str]) -> Output {
    let output = command(name, arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{name} failed:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Runs an example and checks that it says what it was to show.
fn assert_says(name: &str, arguments: &[&str], expected: &[&str]) {
    let output = run_example(name, arguments);
    let said = String::from_utf8_lossy(&output.stdout);
    for words in expected {
        assert!(said.contains(words), "{name} does not say {words:?}:\n{said}");
    }
}

#[test]
fn echo() {
    assert_says("echo", &["--mib", "4"], &["MiB/s", "is what was sent", "Closed"]);
}

#[test]
#[cfg(feature = "handshake")]
fn close() {
    assert_says("close", &[], &["one last thing", "dropped the connection after"]);
}

#[test]
#[cfg(feature = "handshake")]
fn events() {
    assert_says("events", &[], &["ping", "pong", "close frame: 1001", "text message", "closed"]);
}

#[test]
#[cfg(feature = "handshake")]
fn keepalive() {
    let expected = [
        "ping 1: ",
        " ms\n",
        "code 1000, reason \"no more news\", clean: true",
        "no answer\n",
        "giving up",
        "code 1006, reason \"\", clean: false",
    ];
    assert_says("keepalive", &[], &expected);
}

#[test]
#[cfg(feature = "handshake")]
fn futures_codec() {
    assert_says("futures_codec", &[], &["GOOD MORNING", "both ends closed"]);
}

#[test]
#[cfg(feature = "handshake")]
fn tls() {
    assert_says("tls", &[], &["came back over TLS, unchanged", "client: closed"]);
}

#[test]
#[cfg(all(feature = "handshake", feature = "tokio_io"))]
fn tokio_codec() {
    assert_says("tokio_codec", &[], &["HOW DO YOU DO?", "both ends closed"]);
}

#[test]
#[cfg(all(feature = "handshake", feature = "tokio_io"))]
fn tunnel() {
    assert_says("tunnel", &[], &["got back everything that they sent"]);
}

#[test]
fn the_two_ends_of_echo_run_apart() {
    run_example("echo", &["--help"]); // builds it
    let server = Program::start(&mut command("echo", &["serve", "127.0.0.1:0"]));
    let listening = server.says("listening on ");
    run_example("echo", &["connect", listening.rsplit(' ').next().unwrap(), "--mib", "4"]);
    server.says("echoed 4.00 MiB");
}

#[test]
#[cfg(all(feature = "handshake", feature = "tokio_io"))]
fn the_tunnel_explains_itself() {
    assert_says("tunnel", &["--help"], &["server", "client", "Usage"]);
    assert_says("tunnel", &["client", "--help"], &["--listen", "--to"]);
}
