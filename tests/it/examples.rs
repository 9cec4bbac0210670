//! Every example runs to its end by itself.

use std::process::{Command, Output};

/// Runs an example with the features that this test was built with.
fn run_example(name: &str, arguments: &[&str]) -> Output {
    let features = if cfg!(feature = "tokio_io") { "tokio_io" } else { "" };
    let output = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["run", "--quiet", "--features", features, "--example", name, "--"])
        .args(arguments)
        .output()
        .unwrap();
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
    assert_says("echo", &["--mib", "4"], &["MiB/s", "Closed"]);
}

#[test]
fn close() {
    assert_says("close", &[], &[]);
}

#[test]
fn events() {
    assert_says("events", &[], &["ping", "pong", "close frame: 1001", "text message", "closed"]);
}

#[test]
fn futures_codec() {
    assert_says("futures_codec", &[], &[]);
}

#[test]
fn tls() {
    assert_says("tls", &[], &[]);
}

#[test]
#[cfg(feature = "tokio_io")]
fn tokio_codec() {
    assert_says("tokio_codec", &[], &[]);
}

#[test]
#[cfg(feature = "tokio_io")]
fn tunnel() {
    assert_says("tunnel", &[], &[]);
}
