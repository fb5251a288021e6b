//! A server that is stopped, and what others have written to its log meanwhile.

use std::{
    path::Path,
    sync::mpsc,
    time::{SystemTime, UNIX_EPOCH},
};

use minikafka_record::RecordBatch;
use minikafka_server::Server;
use minikafka_storage::{
    Entry, EntryKind, Storage,
    filesystem::{FileStorage, Options},
};

use super::client::{Client, start_with};
use crate::support::Fixture;

/// A server on a directory, and a client of it.
pub(super) async fn serve(root: &Path) -> (Fixture, Client) {
    let fixture = start_with(Server::builder().filesystem(root)).await;
    let client = Client::connect(&fixture).await;
    (fixture, client)
}

/// Puts a batch at the end of the topic `t`, in the term that the batch names, as if a producer had sent all that comes before
/// it.
pub(super) fn append(root: &Path, batch: &RecordBatch) {
    let storage = FileStorage::open(root, Options::default()).unwrap();
    let id = storage.list().unwrap().into_iter().find(|id| id.to_string().starts_with("t-")).unwrap();
    let log = storage.open(&id).unwrap();
    let bounds = log.bounds();
    let entry = Entry {
        index: bounds.next_index,
        epoch: batch.header().leader_epoch.try_into().unwrap(),
        base_offset: bounds.end,
        record_count: u32::try_from(batch.records().count()).unwrap(),
        append_time: SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64,
        kind: EntryKind::Data,
        payload: batch.bytes().clone(),
    };
    let (send, stored) = mpsc::channel();
    log.append(vec![entry], Box::new(move |outcome| send.send(outcome).unwrap()));
    stored.recv().unwrap().unwrap();
    storage.close().unwrap();
}
