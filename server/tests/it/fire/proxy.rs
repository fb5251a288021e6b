//! [`Proxy`], what connections go through that are cut at any byte.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::kills::Rng;

/// Listens for as long as it lives, and passes on to wherever the server is.
pub(crate) struct Proxy {
    pub(crate) address: String,
    server: watch::Sender<Option<String>>,
    /// Connections that were cut.
    cuts: Arc<Mutex<u64>>,
    /// Whether connections live as long as they like.
    is_calm: watch::Sender<bool>,
}

impl Proxy {
    pub(crate) async fn start(mut rng: Rng) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (server, current) = watch::channel(None);
        let (is_calm, calm) = watch::channel(false);
        let cuts = Arc::new(Mutex::new(0));
        let counted = cuts.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let upstream: Option<String> = current.borrow().clone();
                let [there, back] = [draw_budget(&mut rng), draw_budget(&mut rng)];
                let (counted, calm) = (counted.clone(), calm.clone());
                tokio::spawn(async move {
                    // Nobody is there: the client sees its connection end.
                    let Some(upstream) = upstream else { return };
                    let Ok(server) = TcpStream::connect(upstream).await else { return };
                    if pass(client, server, there, back, calm).await == End::Cut {
                        *counted.lock().unwrap() += 1;
                    }
                });
            }
        });
        Proxy { address, server, cuts, is_calm }
    }

    pub(crate) fn send_to(&self, server: Option<String>) {
        self.server.send_replace(server);
    }

    /// New connections are not cut any more.
    pub(crate) fn calm_down(&self) {
        self.is_calm.send_replace(true);
    }

    pub(crate) fn cuts(&self) -> u64 {
        *self.cuts.lock().unwrap()
    }
}

/// Bytes that pass before the cut: some connections hardly begin, most carry many batches.
fn draw_budget(rng: &mut Rng) -> u64 {
    if rng.percent(15) { rng.between(1, 400) } else { rng.between(400, 600_000) }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Cut,
    /// By one of its sides.
    Theirs,
}

/// Passes bytes both ways until one side ends, or as many have passed as may.
async fn pass(
    client: TcpStream,
    server: TcpStream,
    there: u64,
    back: u64,
    calm: watch::Receiver<bool>,
) -> End {
    let limit = |budget| if *calm.borrow() { u64::MAX } else { budget };
    let (there, back) = (limit(there), limit(back));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // Both halves of both sides are dropped at the end, and with them the connections.
    tokio::select! {
        end = copy(from_client, to_server, there) => end,
        end = copy(from_server, to_client, back) => end,
    }
}

async fn copy(mut from: impl AsyncReadExt + Unpin, mut to: impl AsyncWriteExt + Unpin, mut left: u64) -> End {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else { return End::Theirs };
        let passed = (read as u64).min(left);
        if to.write_all(&buffer[..passed as usize]).await.is_err() {
            return End::Theirs;
        }
        left -= passed;
        if left == 0 {
            return End::Cut;
        }
    }
}
