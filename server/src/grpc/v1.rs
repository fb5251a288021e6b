//! [`V1`], the `minikafka.v1` service: one line for each call, and a module for each thing it does.

use std::sync::Arc;

use minikafka_broker::Broker;
use minikafka_proto::v1::{
    AlterTopicRequest, AlterTopicResponse, CreateTopicRequest, CreateTopicResponse, DeleteTopicRequest,
    DeleteTopicResponse, DescribeTopicRequest, DescribeTopicResponse, InitProducerRequest,
    InitProducerResponse, ListProducersRequest, ListProducersResponse, ListTopicsRequest, ListTopicsResponse,
    PollRequest, PollResponse, ProduceRequest, ProduceResponse, ProduceStreamRequest, ProduceStreamResponse,
    ReadRequest, ReadResponse, SubscribeRequest, SubscribeResponse,
    mini_kafka_service_server::MiniKafkaService,
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, codegen::BoxStream};

use super::{intake::Held, poll, produce, produce_stream, producers, read, subscribe, topics};
use crate::observe::Refusals;

/// The `minikafka.v1` service.
pub(crate) struct V1 {
    broker: Broker,
    stopping: CancellationToken,
    refusals: Arc<Refusals>,
}

impl V1 {
    /// Over a broker. Produce and read streams end when `stopping` is cancelled; what produce streams refuse is
    /// counted in `refusals`.
    pub(crate) fn new(broker: Broker, stopping: CancellationToken, refusals: Arc<Refusals>) -> V1 {
        V1 { broker, stopping, refusals }
    }
}

#[tonic::async_trait]
impl MiniKafkaService for V1 {
    async fn produce(&self, request: Request<ProduceRequest>) -> Result<Response<ProduceResponse>, Status> {
        Ok(Response::new(produce::produce(&self.broker, request.into_inner()).await?))
    }

    async fn produce_stream(
        &self,
        request: Request<Streaming<ProduceStreamRequest>>,
    ) -> Result<Response<BoxStream<ProduceStreamResponse>>, Status> {
        let held = request.extensions().get::<Held>().cloned().unwrap_or_default();
        let requests = request.into_inner();
        let replies = produce_stream::run(
            self.broker.clone(),
            requests,
            held,
            self.stopping.clone(),
            self.refusals.clone(),
        );
        Ok(Response::new(Box::pin(replies)))
    }

    async fn poll(&self, request: Request<PollRequest>) -> Result<Response<PollResponse>, Status> {
        Ok(Response::new(poll::poll(&self.broker, request.into_inner()).await?))
    }

    async fn subscribe(
        &self,
        request: Request<SubscribeRequest>,
    ) -> Result<Response<BoxStream<SubscribeResponse>>, Status> {
        let replies = subscribe::subscribe(self.broker.clone(), request.into_inner()).await?;
        Ok(Response::new(Box::pin(replies)))
    }

    async fn init_producer(
        &self,
        request: Request<InitProducerRequest>,
    ) -> Result<Response<InitProducerResponse>, Status> {
        Ok(Response::new(producers::init(&self.broker, &request.into_inner()).await?))
    }

    async fn list_producers(
        &self,
        request: Request<ListProducersRequest>,
    ) -> Result<Response<ListProducersResponse>, Status> {
        Ok(Response::new(producers::list(&self.broker, &request.into_inner())?))
    }

    async fn read(
        &self,
        request: Request<Streaming<ReadRequest>>,
    ) -> Result<Response<BoxStream<ReadResponse>>, Status> {
        let replies = read::run(self.broker.clone(), request.into_inner(), self.stopping.clone());
        Ok(Response::new(Box::pin(replies)))
    }

    async fn list_topics(
        &self,
        request: Request<ListTopicsRequest>,
    ) -> Result<Response<ListTopicsResponse>, Status> {
        Ok(Response::new(topics::list(&self.broker, &request.into_inner())))
    }

    async fn describe_topic(
        &self,
        request: Request<DescribeTopicRequest>,
    ) -> Result<Response<DescribeTopicResponse>, Status> {
        Ok(Response::new(topics::describe(&self.broker, &request.into_inner()).await?))
    }

    async fn create_topic(
        &self,
        request: Request<CreateTopicRequest>,
    ) -> Result<Response<CreateTopicResponse>, Status> {
        Ok(Response::new(topics::create(&self.broker, &request.into_inner()).await?))
    }

    async fn alter_topic(
        &self,
        request: Request<AlterTopicRequest>,
    ) -> Result<Response<AlterTopicResponse>, Status> {
        Ok(Response::new(topics::alter(&self.broker, &request.into_inner()).await?))
    }

    async fn delete_topic(
        &self,
        request: Request<DeleteTopicRequest>,
    ) -> Result<Response<DeleteTopicResponse>, Status> {
        Ok(Response::new(topics::delete(&self.broker, &request.into_inner()).await?))
    }
}
