//! A service file, which gives names to sets of connection parameters, in libpq's format: sections
//! `[name]` with lines `parameter=value`.

use std::path::Path;

use crate::error::{Error, Result};

/// Returns the parameters that the file at `path` lists for a service, in their order.
pub fn look_up(path: &Path, service: &str) -> Result<Vec<(String, String)>> {
    let bytes = std::fs::read(path).map_err(|error| {
        let error = Error::from(error);
        Error::invalid(format!("servicefile: {}", error.message)).with_detail(error.detail)
    })?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| Error::invalid("servicefile: the file must be UTF-8"))?;
    parameters_in(text, service)
}

fn parameters_in(text: &str, service: &str) -> Result<Vec<(String, String)>> {
    let mut parameters = None::<Vec<_>>;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(section) = line.strip_prefix('[') {
            if parameters.is_some() {
                break;
            }
            if section.strip_suffix(']') == Some(service) {
                parameters = Some(Vec::new());
            }
        } else if let Some(parameters) = &mut parameters {
            let (name, value) = line.split_once('=').ok_or_else(|| {
                Error::invalid(format!("servicefile: line {}: there is no =", index + 1))
            })?;
            if name == "service" || name == "servicefile" {
                return Err(Error::invalid(format!(
                    "servicefile: line {}: a service must not name another service",
                    index + 1
                )));
            }
            parameters.push((name.to_owned(), value.to_owned()));
        }
    }
    parameters.ok_or_else(|| {
        Error::invalid("service: the file that servicefile names has no section of this name")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_a_section() {
        let text = "# services\nstray\n[other]\nhost=x\n\n[mine]\r\n  host=db.example \n\
                    #port=1\noptions=-c a=b\n[mine]\nport=2\n";
        let pairs = [("host", "db.example"), ("options", "-c a=b")];
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(parameters_in(text, "mine").unwrap(), pairs);
        assert_eq!(parameters_in("[a]", "a").unwrap(), []);
    }

    #[test]
    fn what_is_wrong_with_a_service_is_said() {
        let refusal = |text| parameters_in(text, "a").unwrap_err().message;
        assert!(refusal("[b]\nhost=x").contains("no section"));
        assert_eq!(refusal("[a]\n\nhost"), "servicefile: line 3: there is no =");
        assert!(refusal("[a]\nservice=b").starts_with("servicefile: line 2: a service must not"));
        let missing = look_up(Path::new("/nowhere/services"), "a").unwrap_err();
        assert!(missing.message.starts_with("servicefile: "), "{missing}");
        assert_eq!(missing.detail, libc::ENOENT);
    }
}
