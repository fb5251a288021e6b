//! What hostile Kafka clients claim is not reserved. A program of its own, because it watches all memory that is
//! allocated.

// In a test, what must not fail and does is the result.
#![allow(clippy::unwrap_used)]

use minikafka_server::{Server, config::KafkaConfig};
use peak_alloc::PeakAlloc;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Far more than a connection takes up, far less than any of the claims.
const ALLOWED_BYTES: usize = 4 << 20;

#[tokio::test]
async fn claims_of_counts_and_lengths_reserve_nothing() {
    let door = KafkaConfig::at("127.0.0.1:0".parse().unwrap());
    let server = Server::builder().memory().kafka(door).start("127.0.0.1:0").await.unwrap();
    let address = server.kafka_addr().unwrap();
    let classic: &[u8] = &[0x7f, 0xff, 0xff, 0xff];
    let compact: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0x0f];
    // Key, version, and what stands in front of the first array.
    let arrays = [
        (0, 3, &[0xff, 0xff, 0, 1, 0, 0, 0, 1][..], classic),
        (0, 9, &[0, 0, 1, 0, 0, 0, 1], compact),
        (1, 4, &[0; 17], classic),
        (1, 12, &[0; 25], compact),
        (2, 1, &[0; 4], classic),
        (2, 7, &[0; 5], compact),
        (3, 0, &[], classic),
        (3, 12, &[], compact),
    ];
    let mut frames = Vec::new();
    for (key, version, front, claim) in arrays {
        let mut frame = vec![0, key, 0, version, 0, 0, 0, 1, 0xff, 0xff];
        frame.extend((claim == compact).then_some(0));
        frame.extend_from_slice(front);
        frame.extend_from_slice(claim);
        let mut bytes = (frame.len() as u32).to_be_bytes().to_vec();
        bytes.extend(frame);
        frames.push(bytes);
    }
    // Frames that are allowed to be so large, and of which nothing more comes.
    let begun = [&[0x06, 0x40, 0, 0, 0, 0, 0, 9][..], &[0, 0x40, 0, 0, 0, 1, 0, 12]];
    let mut held = Vec::new();
    for bytes in begun {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(bytes).await.unwrap();
        held.push(client);
    }
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    for bytes in &frames {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(bytes).await.unwrap();
        let ended = client.read(&mut [0; 16]).await;
        assert!(matches!(ended, Ok(0) | Err(_)), "it is closed: {bytes:?} {ended:?}");
    }
    let grown = MEMORY.peak_usage().saturating_sub(before);
    assert!(grown < ALLOWED_BYTES, "{grown} bytes");
    drop(held);
    server.stop().await.unwrap();
}
