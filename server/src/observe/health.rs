//! The gRPC health service. It says of every service what `/readyz` says of the server.
//!
//! The one of tonic-health is told what to say; here nobody could tell it in time, because room on a disk goes and
//! returns without an event. So this one looks when it is asked, and now and then for those who watch.

use std::{pin::Pin, time::Duration};

use futures_util::{Stream, stream::unfold};
use minikafka_proto::{
    original::mini_kafka_server::MiniKafkaServer,
    v1::{group_service_server::GroupServiceServer, mini_kafka_service_server::MiniKafkaServiceServer},
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, server::NamedService};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_server::{Health, HealthServer},
};

use super::Observed;
use crate::grpc::{Groups, Original, V1};

/// How often those who watch are looked for. Nobody watches: nobody looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The services there are; the empty name is the server.
const SERVICES: [&str; 4] = [
    "",
    MiniKafkaServiceServer::<V1>::NAME,
    GroupServiceServer::<Groups>::NAME,
    MiniKafkaServer::<Original>::NAME,
];

/// See the module.
pub(crate) struct Readings {
    observed: Observed,
    stopping: CancellationToken,
}

/// The service. Those who watch hear of a stop when `stopping` is cancelled.
pub(crate) fn health_server(observed: Observed, stopping: CancellationToken) -> HealthServer<Readings> {
    HealthServer::new(Readings { observed, stopping })
}

type Replies = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Health for Readings {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        if !SERVICES.contains(&service.as_str()) {
            return Err(Status::not_found(format!("there is no service {service:?}")));
        }
        Ok(Response::new(reply(look(&self.observed).await)))
    }

    type WatchStream = Replies;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Replies>, Status> {
        let is_known = SERVICES.contains(&request.into_inner().service.as_str());
        let watch = Watch { observed: self.observed.clone(), stopping: self.stopping.clone(), is_known };
        let replies = unfold((watch, None), |(watch, last)| async move {
            let status = watch.next(last).await;
            Some((Ok(reply(status)), (watch, Some(status))))
        });
        Ok(Response::new(Box::pin(replies)))
    }
}

/// Somebody who wants to hear of changes.
struct Watch {
    observed: Observed,
    stopping: CancellationToken,
    is_known: bool,
}

impl Watch {
    /// A stop is told at once, even while the storage is asked: the stream ends with it.
    async fn look(&self) -> ServingStatus {
        tokio::select! {
            biased;
            () = self.stopping.cancelled() => ServingStatus::NotServing,
            status = look(&self.observed) => status,
        }
    }

    /// Waits until the status is another than the last one.
    async fn next(&self, last: Option<ServingStatus>) -> ServingStatus {
        loop {
            let status = match self.is_known {
                true => self.look().await,
                false => ServingStatus::ServiceUnknown,
            };
            if last != Some(status) {
                return status;
            }
            if self.stopping.is_cancelled() || !self.is_known {
                // There is no more to hear; the stream ends with the server.
                std::future::pending::<()>().await;
            }
            tokio::select! {
                () = self.stopping.cancelled() => {}
                () = sleep(LOOK_INTERVAL) => {}
            }
        }
    }
}

async fn look(observed: &Observed) -> ServingStatus {
    if observed.readiness().await.is_ready() { ServingStatus::Serving } else { ServingStatus::NotServing }
}

fn reply(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}
