use crate::json::parse_options;
use crate::json::tests::assert_invalid;
use crate::store::options::Options;

#[test]
fn a_missing_option_has_its_default() {
    for options in ["", "{}", " {\n} "] {
        assert_eq!(parse_options(options.as_bytes()).unwrap(), Options::default());
    }
}

#[test]
fn every_option_is_parsed() {
    let all = r#"{"read_only": true, "immutable": false, "create": false, "adopt": true, "import": true, "busy_timeout_ms": -1, "max_readers": 3, "cache_bytes": 7, "schema": "s", "pool_size": 2, "allow_fsync_off": true}"#;
    assert_eq!(
        parse_options(all.as_bytes()).unwrap(),
        Options {
            read_only: true,
            immutable: false,
            create: false,
            adopt: true,
            import: true,
            busy_timeout_ms: -1,
            max_readers: Some(3),
            cache_bytes: Some(7),
            schema: Some("s".into()),
            pool_size: Some(2),
            allow_fsync_off: true,
        }
    );
}

#[test]
fn immutable_implies_read_only() {
    for options in [r#"{"immutable": true}"#, r#"{"immutable": true, "read_only": false}"#] {
        let options = parse_options(options.as_bytes()).unwrap();
        assert!(options.immutable && options.is_read_only());
    }
}

#[test]
fn an_error_of_the_options_names_the_json_path() {
    for (options, message) in [
        ("null", "options: must be an object"),
        ("[true]", "options: must be an object"),
        (r#"{"read_only": 1}"#, "read_only: must be true or false"),
        (r#"{"create": null}"#, "create: must be true or false"),
        (r#"{"busy_timeout_ms": 1.5}"#, "busy_timeout_ms: must be an integer"),
        (r#"{"busy_timeout_ms": null}"#, "busy_timeout_ms: must be an integer"),
        (r#"{"max_readers": "8"}"#, "max_readers: must be an integer"),
        (r#"{"max_readers": null}"#, "max_readers: must be an integer"),
        (r#"{"cache_bytes": "8"}"#, "cache_bytes: must be an integer"),
        (r#"{"schema": 1}"#, "schema: must be a string"),
        (r#"{"adopt": true, "adopt": true}"#, "adopt: is given twice"),
        (
            r#"{"readonly": true}"#,
            "options: unknown key \"readonly\" (known: read_only, immutable, create, adopt, import, busy_timeout_ms, max_readers, cache_bytes, schema, pool_size, allow_fsync_off)",
        ),
    ] {
        assert_invalid(parse_options(options.as_bytes()), message);
    }
}
