//! The transport alone: what no websocket can go below.

use crate::ends::{ByteStream, Role, StreamContender};

#[derive(Clone, Copy)]
pub struct Plain;

impl StreamContender for Plain {
    type Stream<T: ByteStream> = T;

    async fn stream<T: ByteStream>(self, transport: T, _role: Role) -> T {
        transport
    }
}
