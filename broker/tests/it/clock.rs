//! The wall clock over a restart: believed, but a jump is said. Row 9.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use minikafka_broker::{Broker, BrokerConfig};
use minikafka_record::Offset;
use minikafka_storage::filesystem::{FileStorage, Options};

use crate::setup::{ManualClock, produce};

/// What was logged.
#[derive(Clone, Debug, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_jump_of_the_wall_clock_over_a_restart_is_said() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(1_000_000);
    let open = || async {
        let storage = FileStorage::open(dir.path(), Options::default()).unwrap();
        let retention = Some(Duration::from_secs(3600));
        let config = BrokerConfig { retention, clock: clock.clone(), ..BrokerConfig::default() };
        Broker::open(Arc::new(storage), config).await.unwrap()
    };
    const YEAR: u64 = 365 * 24 * 3600;
    // Seconds of the wall clock; what is said about it; where the log starts then.
    for (wall, said, start) in [
        (1_000_000, None, 0),
        (1_003_000, None, 0),
        (1_000_000, Some("behind the newest message"), 0),
        (1_003_001, None, 0),
        (1_003_001 + 2 * YEAR, Some("all messages are too old"), 4),
        // Back to the truth: what was evicted stays so, and the newest message is from the future.
        (1_004_000, Some("behind the newest message"), 4),
    ] {
        clock.set_wall(wall);
        let broker = open().await;
        let warned = lines.take();
        match said {
            Some(said) => assert!(warned.contains(said) && warned.contains("WARN"), "{wall}: {warned:?}"),
            None => assert_eq!(warned, "", "{wall}"),
        }
        let before = broker.partition("t", None).map_or(0, |partition| partition.bounds().start.get());
        assert_eq!(before, start, "{wall}");
        produce(&broker, "t", "x").await.unwrap();
        broker.close().await.unwrap();
    }
    let broker = open().await;
    assert_eq!(broker.partition("t", None).unwrap().bounds().end, Offset::new(6));
}
