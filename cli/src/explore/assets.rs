//! The files of the page, which are in the program itself.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

/// Defines `FILES` from the names of the files in the folder `page`.
macro_rules! files {
    ($($name:literal: $kind:ident,)*) => {
        const FILES: &[(&str, &str, &str)] =
            &[$(($name, $kind, include_str!(concat!("page/", $name)))),*];
    };
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

files! {
    "index.html": HTML,
    "style.css": CSS,
    "views.css": CSS,
    "icon.svg": IMAGE,
    "api.js": SCRIPT,
    "builder.js": SCRIPT,
    "chart.js": SCRIPT,
    "code.js": SCRIPT,
    "combobox.js": SCRIPT,
    "condition.js": SCRIPT,
    "dom.js": SCRIPT,
    "event.js": SCRIPT,
    "events.js": SCRIPT,
    "format.js": SCRIPT,
    "json.js": SCRIPT,
    "list.js": SCRIPT,
    "main.js": SCRIPT,
    "overview.js": SCRIPT,
    "query.js": SCRIPT,
    "shell.js": SCRIPT,
    "tag.js": SCRIPT,
}

/// Returns the file of that name.
pub fn file(name: &str) -> Response {
    match FILES.iter().find(|(own, ..)| *own == name) {
        Some((_, kind, text)) => ([(header::CONTENT_TYPE, *kind)], *text).into_response(),
        None => (StatusCode::NOT_FOUND, "dcb explore: there is no such page\n").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_page_is_served() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/explore/page");
        let mut on_disk: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let mut served: Vec<&str> = FILES.iter().map(|(name, ..)| *name).collect();
        on_disk.sort();
        served.sort_unstable();
        assert_eq!(on_disk, served);
    }

    #[test]
    fn no_file_of_the_page_names_another_host() {
        for (name, _, text) in FILES {
            let text = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!text.contains("http:") && !text.contains("https:"), "{name}");
        }
    }
}
