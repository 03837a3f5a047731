//! Reading bodies with limits.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::Response;

use super::transport::reason;
use crate::error::Error;

/// The next piece of a body; `None` at its end.
pub(crate) async fn next_chunk(
    response: &mut Response,
    idle: Duration,
    what: &str,
) -> Result<Option<Bytes>, Error> {
    match tokio::time::timeout(idle, response.chunk()).await {
        Ok(Ok(chunk)) => Ok(chunk),
        Ok(Err(e)) => Err(Error::Transport {
            what: what.to_owned(),
            reason: reason(&e),
        }),
        Err(_) => Err(Error::Transport {
            what: what.to_owned(),
            reason: format!("nothing came for {} s", idle.as_secs()),
        }),
    }
}

/// A whole body of at most `limit` bytes; what is longer is not read on.
pub(crate) async fn read_capped(
    mut response: Response,
    limit: u64,
    idle: Duration,
    what: &str,
) -> Result<Bytes, Error> {
    let too_large = || Error::TooLarge {
        what: what.to_owned(),
        limit,
    };
    if response
        .content_length()
        .is_some_and(|length| length > limit)
    {
        return Err(too_large());
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = next_chunk(&mut response, idle, what).await? {
        if (body.len() + chunk.len()) as u64 > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}
