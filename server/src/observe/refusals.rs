//! [`Refusals`]: how many requests were refused, by reason. [`Watched`] finds them in what is answered.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use axum::body::{Bytes, HttpBody};
use http::HeaderMap;
use hyper::body::{Frame, SizeHint};
use tonic::{Code, Status};
use tonic_types::StatusExt;
use tracing::Span;

/// Refused requests, by reason. The reasons are those of our own table, and the codes of tonic for what does not
/// come so far: a fixed number.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<BTreeMap<String, u64>>);

impl Refusals {
    /// One more for this reason.
    pub(crate) fn count(&self, reason: &str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match counts.get_mut(reason) {
            Some(count) => *count += 1,
            None => _ = counts.insert(reason.to_owned(), 1),
        }
    }

    /// Counts the status that stands in a head or in trailers, if it is a refusal. Not the client's own wish.
    pub(crate) fn count_status(&self, headers: &HeaderMap) {
        let Some(status) = Status::from_header_map(headers) else { return };
        if matches!(status.code(), Code::Ok | Code::Cancelled) {
            return;
        }
        match status.get_details_error_info() {
            Some(info) => self.count(&info.reason),
            None => self.count(&format!("{:?}", status.code())),
        }
    }

    pub(super) fn snapshot(&self) -> BTreeMap<String, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The body of an answer of ours: counts the refusal that it may end with, and traces within its call.
pub(crate) struct Watched<T> {
    pub(crate) body: tonic::body::Body,
    pub(crate) refusals: Arc<Refusals>,
    pub(crate) span: Span,
    /// Dropped when HTTP has taken all of it.
    pub(crate) _held: T,
}

impl<T: Unpin> HttpBody for Watched<T> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let _entered = this.span.enter();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(trailers) = frame.trailers_ref()
        {
            this.refusals.count_status(trailers);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
