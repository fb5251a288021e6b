//! [`Door`]: a request's way to the service that answers it.
//!
//! ```text
//!   /minikafka.v1.MiniKafkaService/*  \
//!   /minikafka.v1.GroupService/*       > check, intake -> our own services
//!   /protocol.MiniKafka/*             /
//!   everything else                   -> the routes of axum: health, reflection, HTTP
//! ```
//!
//! Our own services do not stand behind axum's routes: each of its layers clones a service, boxes a future and wraps
//! two bodies for each call, together about as much work as a small produce itself.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use minikafka_proto::{
    original::mini_kafka_server::MiniKafkaServer,
    v1::{group_service_server::GroupServiceServer, mini_kafka_service_server::MiniKafkaServiceServer},
};
use tonic::{codegen::Service as _, server::NamedService};
use tracing::{Span, debug_span};

use crate::{
    grpc::{Admitted, Groups, Intake, Original, V1, explain_too_large},
    http::refusal_unless_grpc,
    observe::Refusals,
};

type V1Server = MiniKafkaServiceServer<V1>;
type GroupsServer = GroupServiceServer<Groups>;
type OriginalServer = MiniKafkaServer<Original>;

/// See the module. Cheap to clone: each connection has its own.
#[derive(Clone)]
pub(crate) struct Door {
    services: Services,
    /// Who is at the other end, once that is known.
    peer: Option<SocketAddr>,
    intake: Intake,
    /// What a refusal names as the limit.
    message_bytes_max: usize,
    refusals: Arc<Refusals>,
    others: axum::Router,
}

/// Our own services.
#[derive(Clone)]
pub(crate) struct Services {
    pub(crate) v1: V1Server,
    pub(crate) groups: GroupsServer,
    pub(crate) original: OriginalServer,
}

/// Who is at the other end of the connection: with requests about groups, which show it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(SocketAddr);

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Door {
    /// To our own services, within the bounds of `intake`, and to others.
    pub(crate) fn new(
        services: Services,
        intake: Intake,
        message_bytes_max: usize,
        refusals: Arc<Refusals>,
        others: axum::Router,
    ) -> Door {
        Door { services, peer: None, intake, message_bytes_max, refusals, others }
    }

    /// The door of one connection.
    pub(crate) fn of(&self, peer: SocketAddr) -> Door {
        Door { peer: Some(peer), ..self.clone() }
    }
}

impl hyper::service::Service<Request<Incoming>> for Door {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path();
        let service = if is_of::<V1Server>(path) {
            Ours::V1
        } else if is_of::<GroupsServer>(path) {
            Ours::Groups
        } else if is_of::<OriginalServer>(path) {
            Ours::Original
        } else {
            return Answer::Others(Box::pin(self.others.clone().call(request)));
        };
        if let Some(refusal) = refusal_unless_grpc(&request) {
            return Answer::Refused(Some(refusal));
        }
        let span = debug_span!("request", path);
        let (mut request, admitted) = self.intake.admit(request);
        // The futures are the same once they are boxed, which the generated code does anyhow.
        let answer = match service {
            Ours::V1 => self.services.v1.clone().call(request),
            Ours::Groups => {
                self.peer.map(|peer| request.extensions_mut().insert(Peer(peer)));
                self.services.groups.clone().call(request)
            }
            Ours::Original => self.services.original.clone().call(request),
        };
        let (refusals, message_bytes_max) = (self.refusals.clone(), self.message_bytes_max);
        Answer::Ours { answer, admitted: Some((admitted, refusals)), span, message_bytes_max }
    }
}

/// Which of our services.
#[derive(Clone, Copy)]
enum Ours {
    V1,
    Groups,
    Original,
}

/// Whether a path is one of this service: `/name/method`.
fn is_of<S: NamedService>(path: &str) -> bool {
    let rest = path.strip_prefix('/').and_then(|path| path.strip_prefix(S::NAME));
    rest.is_some_and(|rest| rest.starts_with('/'))
}

/// The answer to a request, once it is there.
pub(crate) enum Answer {
    /// From one of our services.
    Ours {
        answer: BoxFuture<Result<Response<tonic::body::Body>, Infallible>>,
        /// Taken when the answer is there.
        admitted: Option<(Admitted, Arc<Refusals>)>,
        /// None unless somebody listens.
        span: Span,
        message_bytes_max: usize,
    },
    /// From axum's routes.
    Others(BoxFuture<Result<Response<Body>, Infallible>>),
    /// No gRPC, where there is nothing else.
    Refused(Option<Response<Body>>),
}

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl Future for Answer {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Answer::Ours { answer, admitted, span, message_bytes_max } => {
                let entered = span.enter();
                let response = match ready!(answer.as_mut().poll(cx)) {
                    Ok(response) => explain_too_large(response, *message_bytes_max),
                    Err(never) => match never {},
                };
                drop(entered);
                let (admitted, refusals) = admitted.take().expect("a future is not polled after its end");
                refusals.count_status(response.headers());
                Poll::Ready(Ok(admitted.answer(response, refusals, std::mem::replace(span, Span::none()))))
            }
            Answer::Others(answer) => answer.as_mut().poll(cx),
            Answer::Refused(response) => {
                Poll::Ready(Ok(response.take().expect("a future is not polled after its end")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_belongs_to_the_service_that_it_names() {
        assert!(is_of::<V1Server>("/minikafka.v1.MiniKafkaService/Produce"));
        assert!(is_of::<V1Server>("/minikafka.v1.MiniKafkaService/"));
        assert!(is_of::<GroupsServer>("/minikafka.v1.GroupService/Join"));
        assert!(is_of::<OriginalServer>("/protocol.MiniKafka/Poll"));
        for other in ["/", "", "/minikafka.v1.MiniKafkaService", "/minikafka.v1.MiniKafkaServices/Produce"] {
            assert!(!is_of::<V1Server>(other), "{other}");
        }
    }
}
