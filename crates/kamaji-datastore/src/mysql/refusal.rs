//! What an error of the client means for us.
//!
//! Source of the codes: MariaDB's "Error Codes" and MySQL's "Server Error Message Reference".

use mysql_async::{DriverError, ServerError};

use crate::error::Cause;
use crate::refusal::{Fault, Refusal, words};

impl Fault for mysql_async::Error {
    fn refusal(&self) -> Refusal {
        match self {
            Self::Server(error) => of_server(error),
            Self::Driver(error) => of_driver(error),
            Self::Io(_) | Self::Other(_) | Self::Url(_) => {
                Refusal::of_handshake(self).unwrap_or(Refusal::Lost)
            }
        }
    }

    fn cause(&self) -> Cause {
        match self {
            Self::Server(error) => Cause(format!("{} (error {})", told(error), error.code)),
            // What the client could not read is in its error, and may be anything.
            Self::Driver(error) if !is_plain(error) => Cause("the client cannot read the answer".to_owned()),
            Self::Driver(DriverError::NoClientSslFlagFromServer) => {
                Cause("the server offers no TLS".to_owned())
            }
            _ => words(self),
        }
    }
}

/// The server's message. Of a statement that it cannot read it quotes a part, which may be what it keeps of a password.
fn told(error: &ServerError) -> &str {
    if error.code == 1064 { "the server does not understand our statement" } else { &error.message }
}

fn is_plain(error: &DriverError) -> bool {
    !matches!(
        error,
        DriverError::FromRow { .. } | DriverError::FromValue { .. } | DriverError::UnexpectedPacket { .. }
    )
}

fn of_driver(error: &DriverError) -> Refusal {
    match error {
        DriverError::ConnectionClosed | DriverError::PacketOutOfOrder => Refusal::Lost,
        DriverError::NoClientSslFlagFromServer => Refusal::Untrusted,
        DriverError::UnknownAuthPlugin { .. }
        | DriverError::CleartextPluginDisabled
        | DriverError::MysqlOldPasswordDisabled => Refusal::Unauthenticated,
        _ => Refusal::Other,
    }
}

fn of_server(error: &ServerError) -> Refusal {
    match error.code {
        // The last is also what a log-in without a password may be told.
        1044 | 1142 | 1143 | 1227 | 1370 | 1410 | 1419 | 1698 => Refusal::Forbidden,
        // Wrong password, wrong host, wrong way to log in, locked, expired.
        1045 | 1130 | 1251 | 1275 | 1524 | 1820 | 1862 | 3118 | 3159 | 4151 => Refusal::Unauthenticated,
        // Duplicate, missing, or changed meanwhile.
        1007 | 1008 | 1049 | 1050 | 1051 | 1062 | 1094 | 1133 | 1141 | 1146 | 1213 | 1396 => Refusal::Raced,
        1290 if error.message.contains("skip-grant-tables") => Refusal::AuthDisabled,
        1290 if error.message.contains("read-only") || error.message.contains("read_only") => {
            Refusal::ReadOnly
        }
        1036 | 1792 | 1836 => Refusal::ReadOnly,
        1021 | 1114 => Refusal::NoSpace,
        // An error of a storage engine or of a file: 28 is the system's code for a full disk.
        3 | 1003 | 1004 | 1005 | 1006 | 1026 | 1030 if is_of_a_full_disk(&error.message) => Refusal::NoSpace,
        // Our own limits, which the server keeps for us.
        1205 | 1317 | 1969 | 3024 => Refusal::Late,
        // Starting, stopping, killed, or no room for one more connection.
        1040 | 1047 | 1053 | 1077 | 1079 | 1158..=1161 | 1203 | 1226 | 1927 | 3032 | 3169 | 4031 => {
            Refusal::Lost
        }
        _ => Refusal::Other,
    }
}

fn is_of_a_full_disk(message: &str) -> bool {
    ["rrno: 28", "rrcode: 28", "error 28 "].iter().any(|sign| message.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: u16, message: &str) -> mysql_async::Error {
        mysql_async::Error::Server(ServerError {
            code,
            message: message.to_owned(),
            state: "HY000".to_owned(),
        })
    }

    #[test]
    fn the_servers_codes_are_understood() {
        for (code, message, refusal) in [
            (1045, "Access denied for user 'x'@'y' (using password: YES)", Refusal::Unauthenticated),
            (1044, "Access denied for user 'x'@'%' to database 'y'", Refusal::Forbidden),
            (1396, "Operation CREATE USER failed for 'x'@'%'", Refusal::Raced),
            (
                1290,
                "The MariaDB server is running with the --read-only option so it cannot execute this statement",
                Refusal::ReadOnly,
            ),
            (1290, "The MariaDB server is running with the --secure-file-priv option", Refusal::Other),
            (
                1290,
                "The MariaDB server is running with the --skip-grant-tables option",
                Refusal::AuthDisabled,
            ),
            (1021, "Disk full (/tmp/x); waiting for someone to free some space...", Refusal::NoSpace),
            (
                3,
                "Error writing file './ddl_recovery.log' (Errcode: 28 \"No space left on device\")",
                Refusal::NoSpace,
            ),
            (1030, "Got error 28 \"No space left on device\" from storage engine InnoDB", Refusal::NoSpace),
            (1030, "Got error 168 from storage engine", Refusal::Other),
            (1006, "Can't create database 'x' (errno: 28 \"No space left on device\")", Refusal::NoSpace),
            (1205, "Lock wait timeout exceeded; try restarting transaction", Refusal::Late),
            (1040, "Too many connections", Refusal::Lost),
            (1064, "You have an error in your SQL syntax", Refusal::Other),
        ] {
            assert_eq!(server(code, message).refusal(), refusal, "{code} {message}");
        }
    }

    #[test]
    fn a_cause_quotes_no_statement() {
        let error = server(1064, "... near 'USING '*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19''");
        assert!(!error.cause().to_string().contains("2470"));
        assert_eq!(
            server(1040, "Too many connections").cause().to_string(),
            "Too many connections (error 1040)"
        );
    }
}
