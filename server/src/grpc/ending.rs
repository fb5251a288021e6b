//! Streams of services that are not ours, health and reflection: clients hold them open as long as they like,
//! and the services know nothing of a stop. Here they get an end, so that a stop need not wait for them.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::State,
    response::Response,
};
use hyper::body::Frame;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Status;

/// Lets a response end with `UNAVAILABLE` once `stopping` is cancelled.
pub(crate) async fn end_when_stopping(
    State(stopping): State<CancellationToken>,
    response: Response,
) -> Response {
    response
        .map(|body| Body::new(Ending { body, stopping: Box::pin(stopping.cancelled_owned()), ended: false }))
}

/// A body that ends early.
struct Ending {
    body: Body,
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
    ended: bool,
}

impl HttpBody for Ending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        // What is ready is sent first: the answer of a unary call is complete before the stop ends it.
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        if self.stopping.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.ended = true;
        let status = Status::unavailable("the server is stopping").into_http::<()>();
        Poll::Ready(Some(Ok(Frame::trailers(status.into_parts().0.headers))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }
}
