use crate::json::parse_options;
use crate::json::tests::refused;
use crate::store::options::Options;

#[test]
fn what_is_left_out_is_the_default() {
    for options in ["", "{}", " {\n} "] {
        assert_eq!(parse_options(options.as_bytes()).unwrap(), Options::default());
    }
}

#[test]
fn every_option_is_taken() {
    let all = r#"{"read_only": true, "immutable": false, "create": false, "adopt": true, "busy_timeout_ms": -1}"#;
    assert_eq!(
        parse_options(all.as_bytes()).unwrap(),
        Options {
            read_only: true,
            immutable: false,
            create: false,
            adopt: true,
            busy_timeout_ms: -1
        }
    );
}

#[test]
fn immutable_implies_read_only() {
    for options in [r#"{"immutable": true}"#, r#"{"immutable": true, "read_only": false}"#] {
        let options = parse_options(options.as_bytes()).unwrap();
        assert!(options.immutable && options.read_only);
    }
}

#[test]
fn options_are_refused_with_their_place() {
    for (options, message) in [
        ("null", "options: must be an object"),
        ("[true]", "options: must be an object"),
        (r#"{"read_only": 1}"#, "read_only: must be true or false"),
        (r#"{"create": null}"#, "create: must be true or false"),
        (r#"{"busy_timeout_ms": 1.5}"#, "busy_timeout_ms: must be an integer"),
        (r#"{"busy_timeout_ms": null}"#, "busy_timeout_ms: must be an integer"),
        (r#"{"adopt": true, "adopt": true}"#, "adopt: is given twice"),
        (
            r#"{"readonly": true}"#,
            "options: unknown key \"readonly\" (known: read_only, immutable, create, adopt, busy_timeout_ms)",
        ),
    ] {
        refused(parse_options(options.as_bytes()), message);
    }
}
