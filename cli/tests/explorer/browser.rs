//! The page in a headless Chromium, driven by `browser.mjs`.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{HOSTILE, TestStore, described, event, numbers, school};

/// Returns the file of that name in one of the folders of `PATH`.
fn command(names: &[&str]) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    let files = |name| std::env::split_paths(&folders).map(move |folder| folder.join(name));
    names.iter().flat_map(files).find(|file| file.is_file())
}

/// Returns the folder of the repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// What the test needs, or why it cannot run.
fn tools() -> Result<(PathBuf, PathBuf, PathBuf), &'static str> {
    let node = command(&["node", "nodejs"]).ok_or("there is no node")?;
    let chromium = command(&["chromium", "chromium-browser", "google-chrome"]);
    let chromium = chromium.ok_or("there is no chromium")?;
    let modules = match std::env::var_os("DCB_EXPLORER_MODULES") {
        Some(folder) => PathBuf::from(folder),
        None => root().join("target/tools/explorer"),
    };
    if !modules.join("node_modules/playwright-core").is_dir() {
        return Err("playwright-core is not in target/tools/explorer");
    }
    Ok((node, chromium, modules))
}

/// A school with events over some seconds, so that there is something to see over time.
fn populated() -> TestStore {
    let store = TestStore::new();
    let mut random = numbers(11);
    for wave in 0..60 {
        for _ in 0..4 + random(12) + if wave % 20 > 13 { 14 } else { 0 } {
            store.append(school(&mut random));
        }
        std::thread::sleep(Duration::from_millis(25 + random(20)));
    }
    store
}

fn hostile() -> TestStore {
    let store = TestStore::new();
    for text in HOSTILE {
        let data = json!({text: text}).to_string();
        let metadata = json!({text: [text]}).to_string();
        store.append(vec![described(text, &[text], &data, Some(text), Some(&metadata))]);
    }
    store
}

/// Appends the events that the browser's program asks for.
fn append(store: &TestStore, events: &Value) -> i64 {
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let events = events.as_array().unwrap().iter().map(|asked| {
        let tags = texts(&asked["tags"]);
        let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
        described(
            asked["type"].as_str().unwrap(),
            &tags,
            asked["data"].as_str().unwrap(),
            asked["id"].as_str(),
            asked["metadata"].as_str(),
        )
    });
    store.append(events.collect());
    store.store.head(&dcb::CallOptions::default()).unwrap().get()
}

#[test]
fn the_page_works_in_a_browser() {
    let (node, chromium, modules) = match tools() {
        Ok(tools) => tools,
        Err(reason) => {
            println!("SKIPPED: the page was not tried in a browser, because {reason}.");
            println!("SKIPPED: ./bootstrap test installs what is missing.");
            return;
        }
    };
    let (store, hostile) = (populated(), hostile());
    let (server, hostile_server) = (store.explore(&[]), hostile.explore(&[]));
    let folder = tempfile::TempDir::new().unwrap();
    let pictures = match std::env::var_os("DCB_EXPLORER_PICTURES") {
        Some(folder) => root().join(folder),
        None => folder.path().to_owned(),
    };
    let mut browser = Command::new(node)
        .arg(root().join("cli/tests/explorer/browser.mjs"))
        .args([&server.url, &hostile_server.url])
        .args([&modules, &chromium, &pictures])
        .arg(json!(HOSTILE).to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = browser.stdin.take().unwrap();
    for line in BufReader::new(browser.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        match line.strip_prefix("append ") {
            None => println!("{line}"),
            Some(json) => {
                let position = append(&store, &serde_json::from_str(json).unwrap());
                writeln!(stdin, "{position}").unwrap();
            }
        }
    }
    assert!(browser.wait().unwrap().success());
    for name in ["overview", "events", "tag", "condition", "event-dark", "overview-dark", "narrow"]
    {
        let size = std::fs::metadata(pictures.join(format!("explorer-{name}.png"))).unwrap().len();
        assert!((5_000..400_000).contains(&size), "{name}: {size} bytes");
    }
    check_code(folder.path(), &pictures);
}

/// Compiles the C code that the page wrote for the hostile strings, and compares what it says with
/// the strings.
fn check_code(folder: &Path, written: &Path) {
    let Some(compiler) = command(&["cc", "gcc", "clang"]) else { return };
    for (index, text) in HOSTILE.iter().enumerate() {
        let code = std::fs::read_to_string(written.join(format!("hostile-{index}.C"))).unwrap();
        let source = folder.join("condition.c");
        let program = format!(
            "#include <stdio.h>\nint main(void) {{\n{code}\nreturn fputs(condition, stdout) < 0;\n}}\n"
        );
        std::fs::write(&source, program).unwrap();
        let binary = folder.join("condition");
        let compiled = Command::new(&compiler)
            .args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-trigraphs", "-o"])
            .args([&binary, &source])
            .status()
            .unwrap();
        assert!(compiled.success(), "{code}");
        let printed = Command::new(&binary).output().unwrap().stdout;
        let condition: Value = serde_json::from_slice(&printed).unwrap();
        let item = &condition["failIfEventsMatch"]["items"][0];
        assert_eq!(*item, json!({"types": [text], "tags": [text]}), "{code}");
    }
    if written != folder {
        for entry in std::fs::read_dir(written).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_string_lossy().starts_with("hostile-") {
                std::fs::remove_file(path).unwrap();
            }
        }
    }
}

#[test]
fn the_program_of_the_browser_gets_the_events_that_it_asks_for() {
    let store = TestStore::new();
    store.append(vec![event("A", &[], "1")]);
    let asked = json!([{"type": "B", "tags": ["k:v"], "data": "[2]", "id": "b"}]);
    assert_eq!(append(&store, &asked), 2);
}
