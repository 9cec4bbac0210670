//! The public types: what can be done with all of them.

use std::{error::Error, fmt, marker::PhantomData};

use futures::{AsyncBufRead, AsyncRead, AsyncWrite};
use hyper::{Request, http::request::Parts};
use ws_stream_tungstenite::{
    Upgraded, WsClientUpgrade, WsClientUpgradeError, WsStream, WsUpgrade, WsUpgradeRejection,
    hyper as reexported,
};

use crate::connections::on_tokio;

const fn assert_value<T: fmt::Debug + Send + Sync + 'static>() {}
const fn assert_error<T: Error + Send + Sync + 'static>() {}
const fn assert_transport<T: AsyncRead + AsyncWrite + Unpin>() {}
const fn assert_stream<T: AsyncRead + AsyncBufRead + AsyncWrite + Unpin>() {}
const fn assert_equal<T: Clone + PartialEq + Eq>() {}

const _: () = {
    assert_value::<WsUpgrade>();
    assert_value::<WsClientUpgrade>();
    assert_error::<WsUpgradeRejection>();
    assert_equal::<WsUpgradeRejection>();
    assert_error::<WsClientUpgradeError>();
    assert_value::<Upgraded>();
    assert_transport::<Upgraded>();
    assert_value::<WsStream<Upgraded>>();
    assert_stream::<WsStream<Upgraded>>();
};

#[test]
fn what_is_returned_can_be_sent_to_a_task() {
    fn assert_future<F: Future + Send + 'static>(_: &F, _: PhantomData<F::Output>) {}
    let accept = |upgrade: WsUpgrade| {
        let (_response, stream) = upgrade.accept();
        assert_future(&stream, PhantomData::<Result<WsStream<Upgraded>, hyper::Error>>);
    };
    let finish = |upgrade: WsClientUpgrade, response: hyper::Response<hyper::body::Incoming>| {
        fn assert_send<F: Future + Send + 'static>(_: &F) {}
        assert_send(&upgrade.finish(response));
    };
    let _ = (accept, finish);
}

#[test]
fn a_request_may_have_any_body_or_none() {
    on_tokio(async {
        let new: fn(&mut Request<()>) -> Result<WsUpgrade, WsUpgradeRejection> = WsUpgrade::new;
        let from_parts: fn(&mut Parts) -> Result<WsUpgrade, WsUpgradeRejection> =
            WsUpgrade::from_parts;
        let mut request = Request::new(());
        let refused = new(&mut request).unwrap_err();
        assert_eq!(from_parts(&mut request.into_parts().0).unwrap_err(), refused);
    });
}

#[test]
fn hyper_is_reexported_in_the_version_that_fits() {
    let mut request: reexported::Request<()> = Request::new(());
    let _upgrade = WsClientUpgrade::new(&mut request);
}
