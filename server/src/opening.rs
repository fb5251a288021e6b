//! The first bytes of a connection: which HTTP it speaks, if any.
//!
//! hyper can find that out by itself, but waits for the bytes forever. Here a peer that says nothing, or
//! begins the preface of HTTP/2 and stops, is sent away after [`OPENING_TIMEOUT`].

use std::{
    io::{self, Cursor},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, join},
    net::TcpStream,
    time::timeout,
};

/// Time that a peer has to say which protocol it speaks.
pub(crate) const OPENING_TIMEOUT: Duration = Duration::from_secs(30);

/// How a client of HTTP/2 begins (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Waits until it is clear what a peer speaks. Returns the connection, from its first byte.
///
/// # Errors
/// When the peer takes too long or hangs up.
pub(crate) async fn open(mut stream: TcpStream) -> io::Result<impl AsyncRead + AsyncWrite + Unpin + use<>> {
    let mut first = [0; PREFACE.len()];
    let len = timeout(OPENING_TIMEOUT, read_first(&mut stream, &mut first)).await??;
    let (read, write) = stream.into_split();
    let first = Cursor::new(first).take(len as u64);
    Ok(join(first.chain(read), write))
}

/// Reads until the bytes are the whole preface, or something else for sure. Returns how many there are.
async fn read_first(
    stream: &mut (impl AsyncRead + Unpin),
    first: &mut [u8; PREFACE.len()],
) -> io::Result<usize> {
    let mut len = 0;
    while len < PREFACE.len() && first[..len] == PREFACE[..len] {
        match stream.read(&mut first[len..]).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => len += read,
        }
    }
    Ok(len)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    async fn first_of(pieces: &[&[u8]]) -> io::Result<Vec<u8>> {
        let (mut client, mut server) = tokio::io::duplex(64);
        for piece in pieces {
            client.write_all(piece).await.unwrap();
        }
        drop(client);
        let mut first = [0; PREFACE.len()];
        let len = read_first(&mut server, &mut first).await?;
        Ok(first[..len].to_vec())
    }

    #[tokio::test]
    async fn knows_the_preface_and_what_is_none() {
        assert_eq!(first_of(&[PREFACE, b"more"]).await.unwrap(), PREFACE);
        assert_eq!(first_of(&[b"GET / HTTP/1.1\r\n\r\n"]).await.unwrap(), b"GET / HTTP/1.1\r\n\r\n");
        assert_eq!(first_of(&[b"PRI * HTTP/1"]).await.unwrap(), b"PRI * HTTP/1");
        assert!(first_of(&[b"PRI *"]).await.is_err());
        assert!(first_of(&[]).await.is_err());
    }

    // The clock jumps ahead when nothing else happens.
    #[tokio::test(start_paused = true)]
    async fn a_peer_that_says_nothing_or_stops_half_way_is_sent_away() {
        for said in [&b""[..], b"PRI * HT"] {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            peer.write_all(said).await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let outcome = open(stream).await.map(|_| ());
            assert_eq!(outcome.map_err(|error| error.kind()), Err(io::ErrorKind::TimedOut));
        }
    }
}
