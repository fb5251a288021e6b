//! The gRPC contract of MiniKafka and its stubs, generated from the `.proto` files beside this crate.
//!
//! [`v1`] is the API of today; [`original`] is the service of the first MiniKafka, kept so that its clients
//! work unmodified.

/// The `minikafka.v1` API.
#[allow(missing_docs, clippy::all, unreachable_pub, unused_qualifications)]
pub mod v1 {
    tonic::include_proto!("minikafka.v1");
}

/// The service of the original MiniKafka clients, package `protocol`.
#[allow(missing_docs, clippy::all, unreachable_pub, unused_qualifications)]
pub mod original {
    tonic::include_proto!("protocol");
}

/// The encoded descriptors of both packages, for gRPC server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
