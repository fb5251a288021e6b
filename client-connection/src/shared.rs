//! [`SharedConnection`], one connection for everything that a client does with a server.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{Address, Connection};

/// A connection that several users have together. Whoever needs it first opens it; whoever finds it broken gives it up,
/// and the next one opens another.
///
/// Nobody waits for anybody else's attempt, who may be slow to poll it: of connections that are opened at the same time
/// the first one is everybody's, and the others are dropped. Streams that are open on a connection that was given up stay
/// there until they end.
///
/// Cheap to clone: all clones share the connection.
#[derive(Clone, Debug)]
pub struct SharedConnection {
    address: Address,
    /// A std lock: held for a look or a note, never across an await.
    current: Arc<Mutex<Option<Connection>>>,
}

impl SharedConnection {
    /// Not connected yet.
    pub fn new(address: Address) -> SharedConnection {
        SharedConnection { address, current: Arc::default() }
    }

    /// Where the server listens.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The connection; when there is none, it is opened with one attempt.
    ///
    /// # Errors
    /// A sentence with the cause.
    pub async fn open(&self) -> Result<Connection, String> {
        let current = self.lock().clone();
        if let Some(current) = current {
            return Ok(current);
        }
        let opened = Connection::open(self.address.clone()).await?;
        Ok(self.lock().get_or_insert(opened).clone())
    }

    /// This one does not work. Of several users who find that out, the later ones change nothing.
    pub fn give_up(&self, broken: &Connection) {
        self.lock().take_if(|current| current.is(broken));
    }

    fn lock(&self) -> MutexGuard<'_, Option<Connection>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
