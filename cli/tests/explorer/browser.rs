//! The page in a headless Chromium, driven by `browser.mjs`.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use dcb::{AppendRequest, CallOptions};
use serde_json::{Value, json};

use crate::support::{HOSTILE, TestStore, at, described, event, numbers, school};

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

/// A school with the events of two weeks until now: more by day than by night, and more each day.
fn populate(store: &TestStore) {
    const MINUTE: u64 = 60_000_000;
    const DAY: u64 = 24 * 60 * MINUTE;
    let import = (store.open_to_import)();
    let mut random = numbers(11);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64;
    let begin = now - 14 * DAY;
    let mut time = begin;
    while time < now - MINUTE {
        let events = school(&mut random).iter().map(|event| at(event, time as i64)).collect();
        let request = AppendRequest::new(events, vec![]).unwrap();
        import.append(request, &CallOptions::default()).unwrap();
        let is_night = !(6..21).contains(&(time % DAY / (60 * MINUTE)));
        let pause = if is_night { 60 } else { 24 - (time - begin) / DAY };
        time += (1 + random(2 * pause)) * MINUTE + random(MINUTE);
    }
    import.close();
}

fn fill_with_hostile_strings(store: &TestStore) {
    for text in HOSTILE {
        let data = json!({text: text}).to_string();
        let metadata = json!({text: [text]}).to_string();
        store.append(vec![described(text, &[text], &data, Some(text), Some(&metadata))]);
    }
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
    store.store.head(&CallOptions::default()).unwrap().get()
}

#[test]
fn the_page_works_in_a_browser() {
    try_in_a_browser(TestStore::new(), TestStore::new(), std::env::var_os("DCB_EXPLORER_PICTURES"));
}

/// Runs the test below with a server of its own (`tests/postgres/cluster.sh`).
#[test]
fn the_page_of_a_store_on_a_server_works_in_a_browser() {
    if is_skipped() {
        return;
    }
    let status = Command::new(root().join("tests/postgres/cluster.sh"))
        .arg("run")
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "browser::the_page_on_the_server_of_the_environment"])
        .arg("--show-output")
        .status()
        .unwrap();
    if status.code() == Some(77) {
        println!("SKIPPED: there is no PostgreSQL server");
        return;
    }
    assert!(status.success(), "{status}");
}

#[test]
#[ignore = "the_page_of_a_store_on_a_server_works_in_a_browser runs it with a server"]
fn the_page_on_the_server_of_the_environment() {
    let server = std::env::var("DCB_POSTGRES_URI").expect("the URI of a server");
    let store = |schema| TestStore::on_server(&server, schema);
    let about = &store("empty").explore(&[]).json("api/overview")["store"];
    assert_eq!(about["schema"], "empty", "{about}");
    assert!(about["fileBytes"].as_u64() > Some(0), "{about}");
    try_in_a_browser(store("school"), store("hostile"), None);
}

/// Says why the page cannot be tried in a browser, if it cannot.
fn is_skipped() -> bool {
    let Err(reason) = tools() else { return false };
    println!("SKIPPED: the page was not tried in a browser, because {reason}.");
    println!("SKIPPED: ./bootstrap test installs what is missing.");
    true
}

/// Fills the stores, and has a browser look at them. The pictures are kept in the folder `kept`.
fn try_in_a_browser(store: TestStore, hostile: TestStore, kept: Option<OsString>) {
    if is_skipped() {
        return;
    }
    let (node, chromium, modules) = tools().unwrap();
    populate(&store);
    fill_with_hostile_strings(&hostile);
    let (server, hostile_server) = (store.explore(&[]), hostile.explore(&[]));
    let folder = tempfile::TempDir::new().unwrap();
    let pictures = match kept {
        Some(folder) => root().join(folder),
        None => folder.path().to_owned(),
    };
    let mut browser = Command::new(node)
        .arg(root().join("cli/tests/explorer/browser.mjs"))
        .args([&server.url, &hostile_server.url])
        .args([&modules, &chromium, &pictures])
        .arg(folder.path())
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
    for name in ["overview", "events", "tag", "condition", "event-dark", "narrow"] {
        let size = std::fs::metadata(pictures.join(format!("explorer-{name}.png"))).unwrap().len();
        assert!((5_000..400_000).contains(&size), "{name}: {size} bytes");
    }
    check_code(folder.path());
}

/// Checks the code that the page wrote: for queries of a few kinds, and for conditions on the hostile
/// strings.
fn check_code(folder: &Path) {
    let read = |name: &str, language: &str| {
        std::fs::read_to_string(folder.join(format!("{name}.{language}"))).unwrap()
    };
    let mut expected: Vec<(String, Value)> = HOSTILE
        .iter()
        .enumerate()
        .map(|(index, text)| (index.to_string(), json!({"types": [text], "tags": [text]})))
        .map(|(name, item)| (name, json!({"failIfEventsMatch": {"items": [item]}, "after": 0})))
        .collect();
    let changed = json!({"types": ["CourseCapacityChanged"]});
    let defined = json!({"types": ["CourseDefined"]});
    let tagged = json!({"types": ["CourseCapacityChanged"], "tags": ["course:c1", "bare"]});
    expected.push(("several".to_owned(), json!({"items": [defined, changed]})));
    expected.push(("tags".to_owned(), json!({"items": [defined, tagged]})));
    expected.push(("all".to_owned(), Value::Null));
    let (mut c, mut cpp, mut go) = (String::new(), String::new(), String::new());
    for (name, document) in &expected {
        let json: Value = serde_json::from_str(&read(name, "JSON")).unwrap();
        assert_eq!(json, *document, "{name}");
        let variable = if document.get("after").is_some() { "condition" } else { "query" };
        c += &format!("{{\n{}\nputs({variable}); puts(\"--\");\n}}\n", read(name, "C"));
        cpp += &format!("{{\n{}\n(void){variable};\n}}\n", read(name, "C++"));
        go += &format!("func _() {{\n{}\n_ = {variable}\n}}\n", read(name, "Go"));
    }
    let write = |name: &str, text: String| {
        std::fs::write(folder.join(name), text).unwrap();
        folder.join(name)
    };
    let runs = |command: &mut Command| assert!(command.status().unwrap().success(), "{command:?}");
    let compiler = command(&["cc", "gcc", "clang"]).expect("a C compiler");
    let source =
        write("code.c", format!("#include <stdio.h>\nint main(void) {{\n{c}return 0;\n}}\n"));
    let program = folder.join("code");
    // With trigraphs, which turn "??/" into a backslash.
    let strict = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-trigraphs", "-o"];
    runs(Command::new(compiler).args(strict).args([&program, &source]));
    let printed = String::from_utf8(Command::new(&program).output().unwrap().stdout).unwrap();
    for (text, (name, document)) in printed.split("--\n").zip(&expected) {
        assert_eq!(serde_json::from_str::<Value>(text).unwrap(), *document, "{name}");
    }
    let compiler = command(&["c++", "g++", "clang++"]).expect("a C++ compiler");
    let source = write("code.cpp", format!("#include <dcb.hpp>\nint main() {{\n{cpp}}}\n"));
    let headers = ["include", "bindings/cpp/include"].map(|folder| root().join(folder));
    runs(
        Command::new(compiler)
            .args(["-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I"])
            .args([&headers[0], Path::new("-I"), &headers[1], &source]),
    );
    let format = command(&["gofmt"]).expect("gofmt");
    let source = write("code.go", format!("package code\n\n{go}"));
    runs(Command::new(format).arg("-e").arg(&source).stdout(Stdio::null()));
}

#[test]
fn the_program_of_the_browser_gets_the_events_that_it_asks_for() {
    let store = TestStore::new();
    store.append(vec![event("A", &[], "1")]);
    let asked = json!([{"type": "B", "tags": ["k:v"], "data": "[2]", "id": "b"}]);
    assert_eq!(append(&store, &asked), 2);
}
