//! A file of passwords in the format of libpq's `.pgpass`.
//!
//! Each line is `host:port:database:user:password`. The first line whose first four fields match
//! counts. A field `*` matches everything, `\` takes the next character as it is, and a line that
//! begins with `#` is a comment.

use std::fs;
use std::path::Path;

use crate::error::{Error, Result};
use crate::postgres::password::Password;

/// Returns the password that the file at `path` has for a connection. Each of `hosts` is a name of
/// the same server.
pub fn look_up(
    path: &Path,
    hosts: &[impl AsRef<str>],
    port: u16,
    database: &str,
    user: &str,
) -> Result<Option<Password>> {
    let failed = |error: std::io::Error| {
        let error = Error::from(error);
        Error::invalid(format!("passfile: {}", error.message)).with_detail(error.detail)
    };
    check_private(&fs::metadata(path).map_err(failed)?)?;
    let bytes = fs::read(path).map_err(failed)?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| Error::invalid("passfile: the file must be UTF-8"))?;
    Ok(password_in(text, hosts, port, database, user))
}

/// Refuses a file that is not a regular one, or that others may read, as libpq does.
#[cfg(unix)]
fn check_private(file: &fs::Metadata) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if !file.is_file() {
        return Err(Error::invalid("passfile: must name a regular file"));
    }
    if file.permissions().mode() & 0o077 != 0 {
        return Err(Error::invalid(
            "passfile: group or others have access to the file (chmod 0600 removes it)",
        ));
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_private(file: &fs::Metadata) -> Result<()> {
    match file.is_file() {
        true => Ok(()),
        false => Err(Error::invalid("passfile: must name a regular file")),
    }
}

fn password_in(
    text: &str,
    hosts: &[impl AsRef<str>],
    port: u16,
    database: &str,
    user: &str,
) -> Option<Password> {
    let port = port.to_string();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let mut rest = Some(line);
        let mut next_field = || {
            let (field, others) = split_field(rest?);
            rest = others;
            Some(field)
        };
        let mut matches = |is_it: &dyn Fn(&str) -> bool| {
            next_field().is_some_and(|field| field == "*" || is_it(&unescaped(field)))
        };
        if matches(&|field| hosts.iter().any(|host| host.as_ref() == field))
            && matches(&|field| field == port)
            && matches(&|field| field == database)
            && matches(&|field| field == user)
        {
            return Some(Password::new(unescaped(split_field(rest?).0)));
        }
    }
    None
}

/// Splits a line at its first colon that is not escaped.
fn split_field(line: &str) -> (&str, Option<&str>) {
    let mut is_escaped = false;
    for (index, byte) in line.bytes().enumerate() {
        match byte {
            b':' if !is_escaped => return (&line[..index], Some(&line[index + 1..])),
            _ => is_escaped = byte == b'\\' && !is_escaped,
        }
    }
    (line, None)
}

/// Removes the backslashes that escape a character. One at the end stands for itself.
fn unescaped(field: &str) -> String {
    let mut text = String::with_capacity(field.len());
    let mut chars = field.chars();
    while let Some(c) = chars.next() {
        text.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<String> {
        password_in(text, &["db.example", "10.0.0.1"], 5432, "courses", "ada")
            .map(|password| password.reveal().to_owned())
    }

    #[test]
    fn the_first_line_that_matches_counts() {
        let lines = "# db.example:5432:courses:ada:comment\n\n\
                     db.example:5433:courses:ada:port\n\
                     db.example:5432:other:ada:database\n\
                     db.example:5432:courses:bob:user\n\
                     DB.example:5432:courses:ada:case\n\
                     db.example:5432:courses:ada:right\n\
                     *:*:*:*:later\n";
        assert_eq!(found(lines).as_deref(), Some("right"));
        assert_eq!(found("10.0.0.1:*:courses:*:address").as_deref(), Some("address"));
        assert_eq!(found("*:*:*:*:\r\n").as_deref(), Some(""));
        assert_eq!(found("db.example:5432:courses:ada"), None);
        assert_eq!(found("db.example:5432:courses"), None);
        assert_eq!(found(""), None);
    }

    #[test]
    fn a_backslash_takes_the_next_character_as_it_is() {
        assert_eq!(found(r"*:*:*:*:a\:b\\c:d").as_deref(), Some(r"a:b\c"));
        assert_eq!(found(r"*:*:*:a\da:x").as_deref(), Some("x"));
        assert_eq!(found(r"\*:*:*:*:x"), None);
        assert_eq!(found(r"*:*:*:*:x\").as_deref(), Some(r"x\"));
        let port = password_in(r"a\:b:1:d\\:\*:p", &["a:b"], 1, r"d\", "*").unwrap();
        assert_eq!(port.reveal(), "p");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("passwords");
        let at = |path: &Path| look_up(path, &["h"], 1, "d", "u");
        assert!(at(&path).unwrap_err().message.starts_with("passfile: "));
        fs::write(&path, "h:1:d:u:secret\n").unwrap();
        for (mode, is_refused) in [(0o600, false), (0o400, false), (0o640, true), (0o604, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let answer = at(&path);
            assert_eq!(answer.is_err(), is_refused, "{mode:o}: {answer:?}");
        }
        assert!(at(folder.path()).unwrap_err().message.contains("a regular file"));
    }
}
