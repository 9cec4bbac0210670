//! Subprotocols: what the client asks for, and what the server agrees to.

use hyper::header::HeaderValue;
use ws_stream_tungstenite::WsUpgrade;

use crate::connections::{accepting, answer, on_tokio, request};

const PROTOCOL: &str = "Sec-WebSocket-Protocol";

/// What the response to a client that sends these lines agrees to.
async fn agreed(
    asked: &[&str],
    agree: impl Fn(WsUpgrade) -> WsUpgrade + Send + 'static,
) -> Option<String> {
    let (handle, _) = accepting(move |upgrade| Ok(agree(upgrade)));
    let lines: Vec<_> = asked.iter().map(|line| (PROTOCOL, *line)).collect();
    let answer = answer(handle, &request(&lines)).await;
    assert_eq!(answer.status(), 101, "{asked:?}");
    answer.get(PROTOCOL).map(str::to_owned)
}

#[test]
fn the_first_of_the_servers_that_the_client_asks_for_is_agreed_to() {
    /// What the client asks for, what the server offers, what they agree to.
    const TABLE: &[(&[&str], &[&str], Option<&str>)] = &[
        (&["a, b"], &["a", "b"], Some("a")),
        (&["a, b"], &["b", "a"], Some("b")),
        (&["b,a"], &["c", "a"], Some("a")),
        (&["a", "b , c"], &["c"], Some("c")),
        (&["a,, ,b"], &["", "b"], Some("b")),
        (&["a, b"], &["c"], None),
        (&["a, b"], &[], None),
        (&[], &["a"], None),
        (&[""], &["a", ""], None),
        (&["abc"], &["ab", "abcd", "a"], None),
        // names have a case
        (&["A"], &["a"], None),
        (&["a\u{e4}, b"], &["b"], None),
        (&["a\u{e4}", "b"], &["a\u{e4}", "b"], Some("b")),
        (&["b"], &["no\nvalue", "b"], Some("b")),
        (&["b"], &["a, b", "b"], Some("b")),
    ];
    on_tokio(async {
        for (asked, offered, expected) in TABLE {
            let agreed = agreed(asked, |upgrade| upgrade.protocols(offered.iter().copied())).await;
            assert_eq!(agreed.as_deref(), *expected, "{asked:?} {offered:?}");
        }
    });
}

#[test]
fn none_is_agreed_to_unless_the_server_says_so() {
    on_tokio(async {
        assert_eq!(agreed(&["a, b"], |upgrade| upgrade).await, None);
    });
}

#[test]
fn names_may_be_owned() {
    on_tokio(async {
        let agreed = agreed(&["a, b"], |upgrade| upgrade.protocols([String::from("b")])).await;
        assert_eq!(agreed.as_deref(), Some("b"));
    });
}

#[test]
fn one_can_be_selected_by_hand() {
    on_tokio(async {
        let agreed = agreed(&["v1.bytes, v2.bytes", "v3.bytes"], |mut upgrade| {
            assert_eq!(upgrade.selected_protocol(), None);
            let asked: Vec<_> = upgrade.requested_protocols().cloned().collect();
            assert_eq!(asked, ["v1.bytes", "v2.bytes", "v3.bytes"]);
            upgrade.set_selected_protocol(asked[1].clone());
            assert_eq!(upgrade.selected_protocol(), Some(&HeaderValue::from_static("v2.bytes")));
            upgrade
        })
        .await;
        assert_eq!(agreed.as_deref(), Some("v2.bytes"));
    });
}

#[test]
fn what_is_said_last_is_agreed_to() {
    on_tokio(async {
        let agreed = agreed(&["a, b"], |mut upgrade| {
            upgrade.set_selected_protocol(HeaderValue::from_static("b"));
            upgrade.protocols(["a"])
        })
        .await;
        assert_eq!(agreed.as_deref(), Some("a"));
    });
}

#[test]
fn the_first_hundred_that_the_client_asks_for_count() {
    on_tokio(async {
        let names = |count: usize| vec!["a"; count].join(",");
        for (before, expected) in [(99, Some("b")), (100, None), (10_000, None)] {
            let asked = format!("{},b", names(before));
            let agreed = agreed(&[&asked], |upgrade| {
                assert!(upgrade.requested_protocols().count() <= 100);
                upgrade.protocols(["b"])
            })
            .await;
            assert_eq!(agreed.as_deref(), expected, "behind {before} others");
        }
    });
}
