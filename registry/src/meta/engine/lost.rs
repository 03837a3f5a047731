//! Errors that say that a database is out of reach, or asks to be asked again.

use std::io::ErrorKind;

use sqlx::Error;
use sqlx::postgres::PgDatabaseError;

/// PostgreSQL's codes, or how they begin: connections that broke, a transaction that others were in
/// the way of, no room for another connection or in memory, a standby that cannot write, locks that
/// others have, statements that took too long, and a server that is stopped or starts.
const PASSING: [&str; 7] = ["08", "40", "53", "25006", "55P03", "57014", "57P"];

/// Whether it is worth while to ask again later.
pub(in crate::meta) fn is_lost(e: &Error) -> bool {
    match e {
        Error::Io(e) => e.kind() != ErrorKind::StorageFull,
        Error::Tls(_) | Error::Protocol(_) | Error::PoolTimedOut | Error::PoolClosed => true,
        Error::Database(e) => e
            .try_downcast_ref::<PgDatabaseError>()
            .is_some_and(|e| PASSING.iter().any(|code| e.code().starts_with(code))),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_full_disk_and_a_missing_row_do_not_pass() {
        for (error, lost) in [
            (Error::Io(ErrorKind::ConnectionRefused.into()), true),
            (Error::Io(io::Error::other("reset")), true),
            (Error::PoolTimedOut, true),
            (Error::Io(ErrorKind::StorageFull.into()), false),
            (Error::RowNotFound, false),
        ] {
            assert_eq!(is_lost(&error), lost, "{error}");
        }
    }
}
