//! The answer to plain http where TLS is spoken.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The words of Go's servers, which people look for.
const ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Connection: close\r\n\
    Content-Length: 48\r\n\
    \r\n\
    Client sent an HTTP request to an HTTPS server.\n";

/// Bytes of the request that are read and thrown away.
const DISCARD: u64 = 64 << 10;

/// Whether what a client begins with is the method of a plain request, and no TLS record.
pub(super) async fn is_spoken(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    let len = stream.peek(&mut first).await?;
    Ok(len == 1 && first[0].is_ascii_alphabetic())
}

/// Says that TLS is to be spoken, and waits until the client has read it.
pub(super) async fn refuse(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(ANSWER).await?;
    stream.shutdown().await?;
    // A socket that is closed with bytes unread is reset, and the answer lost.
    let mut rest = stream.take(DISCARD);
    tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_answer_is_as_long_as_it_says() {
        let text = std::str::from_utf8(super::ANSWER).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())));
    }
}
