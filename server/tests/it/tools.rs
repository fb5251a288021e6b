//! What comes with a gRPC server: health, reflection, a word over HTTP.

use minikafka_server::Server;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_stream::StreamExt;
use tonic::{Code, Request, client::Grpc, codegen::http::uri::PathAndQuery};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::support::{Fixture, soon};

#[tokio::test]
async fn health_tells_the_services_and_the_stop() {
    let fixture = Fixture::memory().await;
    let mut health = HealthClient::new(fixture.channel.clone());
    for service in ["", "minikafka.v1.MiniKafkaService", "minikafka.v1.GroupService", "protocol.MiniKafka"] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let reply = health.check(request).await.unwrap().into_inner();
        assert_eq!(reply.status(), ServingStatus::Serving, "{service:?}");
    }
    let unknown = HealthCheckRequest { service: "nobody".to_owned() };
    assert_eq!(health.check(unknown).await.expect_err("unknown").code(), Code::NotFound);

    let watch = HealthCheckRequest { service: "minikafka.v1.MiniKafkaService".to_owned() };
    let mut watch = health.watch(watch).await.unwrap().into_inner();
    assert_eq!(soon(watch.message()).await.unwrap().unwrap().status(), ServingStatus::Serving);
    let Fixture { server, .. } = fixture;
    let stopped = tokio::spawn(server.stop());
    // The watcher hears of the stop, then its stream is ended: a stop does not wait for watchers.
    assert_eq!(soon(watch.message()).await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert_eq!(soon(watch.message()).await.expect_err("the server stops").code(), Code::Unavailable);
    soon(stopped).await.unwrap().unwrap();
}

#[tokio::test]
async fn reflection_v1_lists_the_services() {
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let fixture = Fixture::memory().await;
    let request = |message_request| ServerReflectionRequest {
        host: String::new(),
        message_request: Some(message_request),
    };
    let requests = tokio_stream::iter([
        request(MessageRequest::ListServices(String::new())),
        request(MessageRequest::FileContainingSymbol("minikafka.v1.MiniKafkaService".into())),
        request(MessageRequest::FileContainingSymbol("google.rpc.ErrorInfo".into())),
    ]);
    let mut client = ServerReflectionClient::new(fixture.channel.clone());
    let replies = client.server_reflection_info(requests).await.unwrap().into_inner();
    let replies: Vec<_> = soon(replies.collect::<Result<_, _>>()).await.unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = &replies[0].message_response else { panic!() };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    for name in ["minikafka.v1.MiniKafkaService", "protocol.MiniKafka", "grpc.health.v1.Health"] {
        assert!(names.contains(&name), "{names:?}");
    }
    for reply in &replies[1..] {
        assert!(matches!(&reply.message_response, Some(MessageResponse::FileDescriptorResponse(_))));
    }
}

#[tokio::test]
async fn reflection_v1alpha_lists_the_services() {
    use tonic_reflection::pb::v1alpha::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let fixture = Fixture::memory().await;
    let message_request = Some(MessageRequest::ListServices(String::new()));
    let requests = tokio_stream::iter([ServerReflectionRequest { host: String::new(), message_request }]);
    let mut client = ServerReflectionClient::new(fixture.channel.clone());
    let mut replies = client.server_reflection_info(requests).await.unwrap().into_inner();
    let reply = soon(replies.message()).await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = reply.message_response else { panic!() };
    assert!(list.service.iter().any(|service| service.name == "minikafka.v1.MiniKafkaService"));
}

#[tokio::test]
async fn unknown_services_and_methods_are_unimplemented() {
    let fixture = Fixture::memory().await;
    for path in ["/no.Such/Call", "/minikafka.v1.MiniKafkaService/NoSuchCall"] {
        let mut grpc = Grpc::new(fixture.channel.clone());
        grpc.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<(), ()>::default();
        let status =
            grpc.unary(Request::new(()), PathAndQuery::from_static(path), codec).await.expect_err(path);
        assert_eq!(status.code(), Code::Unimplemented, "{path}");
    }
}

async fn get(server: &Server, path: &str) -> String {
    say(server, &format!("GET {path}"), "").await
}

/// Sends a request without a body over HTTP/1.
async fn say(server: &Server, method_and_path: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    let head = format!("{method_and_path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut reply = String::new();
    soon(stream.read_to_string(&mut reply)).await.unwrap();
    reply
}

#[tokio::test]
async fn http_1_is_answered_on_the_same_port() {
    let fixture = Fixture::memory().await;
    let reply = get(&fixture.server, "/").await;
    assert!(reply.starts_with("HTTP/1.1 200") && reply.contains("MiniKafka 0."), "{reply}");
    let reply = get(&fixture.server, "/nowhere").await;
    assert!(reply.starts_with("HTTP/1.1 404"), "{reply}");
}

#[tokio::test]
async fn what_is_no_grpc_is_told_so_in_the_terms_of_http() {
    let fixture = Fixture::memory().await;
    for path in ["/minikafka.v1.MiniKafkaService/Produce", "/grpc.health.v1.Health/Check"] {
        let reply = get(&fixture.server, path).await;
        assert!(reply.starts_with("HTTP/1.1 405") && reply.contains("allow: POST"), "{reply}");
        let reply = say(&fixture.server, &format!("POST {path}"), "Content-Type: application/json\r\n").await;
        assert!(reply.starts_with("HTTP/1.1 415"), "{reply}");
    }
}
