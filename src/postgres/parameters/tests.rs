//! Tests of the parameters of a connection.

use std::fs;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn parse(uri: &str) -> Parameters {
    Parameters::from_uri(uri).unwrap_or_else(|error| panic!("{uri}: {error}"))
}

fn refusal(uri: &str) -> String {
    let error = Parameters::from_uri(uri).expect_err(uri);
    assert_eq!(error.status, crate::Status::InvalidArgument, "{uri}: {error}");
    error.message.into_owned()
}

fn network(name: &str, port: u16) -> Host {
    Host { location: Location::Network(name.to_owned(), None), port }
}

fn socket(folder: &str, port: u16) -> Host {
    Host { location: Location::Socket(folder.into()), port }
}

/// Returns the password for the first host.
fn password(parameters: &Parameters) -> Option<String> {
    parameters.password(&parameters.hosts[0]).unwrap().map(|own| own.reveal().to_owned())
}

#[test]
fn what_a_uri_leaves_out_has_a_default() {
    let parameters = parse("postgres://ada@db.example");
    assert_eq!(parameters.hosts, [network("db.example", 5432)]);
    assert_eq!((&*parameters.user, &*parameters.database), ("ada", "ada"));
    assert_eq!(parameters.application_name, "libdcb");
    assert_eq!(parameters.connect_timeout, Some(Duration::from_secs(10)));
    assert_eq!(parameters.tcp_user_timeout, Some(Duration::from_secs(30)));
    let keepalives = parameters.keepalives.unwrap();
    assert_eq!(keepalives.idle, Some(Duration::from_secs(30)));
    assert_eq!(keepalives.interval, Some(Duration::from_secs(10)));
    assert_eq!(keepalives.count, Some(3));
    assert_eq!(parameters.channel_binding, ChannelBinding::Prefer);
    assert_eq!(parameters.root_certificates, RootCertificates::System);
    assert_eq!((parameters.options.as_deref(), parameters.target_session), (None, None));
    assert_eq!(password(&parameters), None);
    let sockets = parse("postgres://ada@:5433/courses").hosts;
    assert_eq!(sockets, [socket("/var/run/postgresql", 5433), socket("/tmp", 5433)]);
}

#[test]
fn every_parameter_is_taken() {
    let parameters = parse(
        "postgresql://ada:pw@a,b:2/courses?target_session_attrs=prefer-standby&sslmode=verify-ca\
         &sslrootcert=/r&sslcert=/c&sslkey=/k&channel_binding=require&connect_timeout=0\
         &keepalives=1&keepalives_idle=0&keepalives_interval=5&keepalives_count=-1\
         &tcp_user_timeout=0&application_name=x&options=-c%20jit%3Doff&sslnegotiation=direct\
         &hostaddr=10.0.0.1,10.0.0.2&passfile=/nowhere",
    );
    let address = |text: &str| Some(text.parse().unwrap());
    assert_eq!(
        parameters.hosts,
        [
            Host { location: Location::Network("a".to_owned(), address("10.0.0.1")), port: 5432 },
            Host { location: Location::Network("b".to_owned(), address("10.0.0.2")), port: 2 },
        ]
    );
    assert_eq!(parameters.target_session, Some(TargetSession::PreferStandby));
    assert_eq!(parameters.ssl_mode(&parameters.hosts[0]), SslMode::VerifyCa);
    assert_eq!(parameters.ssl_negotiation, SslNegotiation::Direct);
    assert_eq!(parameters.root_certificates, RootCertificates::File("/r".into()));
    let own = ClientCertificate { certificate: "/c".into(), key: "/k".into() };
    assert_eq!(parameters.client_certificate, Some(own));
    assert_eq!(parameters.channel_binding, ChannelBinding::Require);
    assert_eq!((parameters.connect_timeout, parameters.tcp_user_timeout), (None, None));
    let keepalives = Keepalives { idle: None, interval: Some(Duration::from_secs(5)), count: None };
    assert_eq!(parameters.keepalives, Some(keepalives));
    assert_eq!(parameters.application_name, "x");
    assert_eq!(parameters.options.as_deref(), Some("-c jit=off"));
    // The password of the URI counts before that of the file.
    assert_eq!(password(&parameters).as_deref(), Some("pw"));
    assert_eq!(parse("postgres://a@h?keepalives=0").keepalives, None);
}

#[test]
fn a_host_is_a_name_an_address_or_a_folder() {
    let hosts = |uri: &str| parse(uri).hosts;
    assert_eq!(hosts("postgres://a@[::1]:1,h/d"), [network("::1", 1), network("h", 5432)]);
    assert_eq!(hosts("postgres://a@h,i/d?port=7"), [network("h", 7), network("i", 7)]);
    assert_eq!(hosts("postgres://a@%2Frun%2Fpg/d"), [socket("/run/pg", 5432)]);
    assert_eq!(
        hosts("postgres://a@/d?host=/run/pg,h"),
        [socket("/run/pg", 5432), network("h", 5432)]
    );
    let only_address = Location::Network("::1".to_owned(), Some("::1".parse().unwrap()));
    assert_eq!(hosts("postgres:///d?user=a&hostaddr=::1")[0].location, only_address);
    assert_eq!(network("::1", 1).to_string(), "[::1]:1");
    assert_eq!(network("h", 1).to_string(), "h:1");
    assert_eq!(socket("/run/pg", 1).to_string(), "/run/pg/.s.PGSQL.1");
    for (uri, expected) in [
        ("postgres://a@h:0/d", "port: must be a number"),
        ("postgres://a@h:65536/d", "port: must be a number"),
        ("postgres://a@h:x/d", "port: must be a number"),
        ("postgres://a@h,i,j/d?port=1,2", "port: must be one number"),
        ("postgres://a@h,i/d?hostaddr=10.0.0.1", "hostaddr: must have as many"),
        ("postgres://a@h/d?hostaddr=h", "hostaddr: must be an IP address"),
        ("postgres://a@%2Frun/d?hostaddr=10.0.0.1", "hostaddr: a Unix socket"),
        ("postgres://a:b@c@h/d", "host: is no name of a host"),
        ("postgres://h/d", "user: is missing"),
    ] {
        let message = refusal(uri);
        assert!(message.starts_with("uri: ") && message.contains(expected), "{uri}: {message}");
    }
}

#[test]
fn a_remote_host_is_verified_unless_the_uri_says_otherwise() {
    let mode = |uri: &str| {
        let parameters = parse(uri);
        parameters.ssl_mode(&parameters.hosts[0])
    };
    for remote in ["db.example", "10.0.0.1", "[2001:db8::1]", "localhost.example", "128.0.0.1"] {
        assert_eq!(mode(&format!("postgres://a@{remote}/d")), SslMode::VerifyFull, "{remote}");
    }
    for local in ["localhost", "LOCALHOST", "127.0.0.1", "127.8.9.1", "[::1]", "[::ffff:127.0.0.1]"]
    {
        assert_eq!(mode(&format!("postgres://a@{local}/d")), SslMode::Prefer, "{local}");
    }
    assert_eq!(mode("postgres://a@localhost/d?hostaddr=10.0.0.1"), SslMode::VerifyFull);
    assert_eq!(mode("postgres://a@db.example/d?hostaddr=127.0.0.1"), SslMode::VerifyFull);
    assert_eq!(mode("postgres://a@/d?host=/run&sslmode=verify-full"), SslMode::Disable);
    assert_eq!(mode("postgres://a@localhost/d?sslrootcert=system"), SslMode::VerifyFull);
    assert_eq!(mode("postgres://a@localhost/d?sslnegotiation=direct"), SslMode::VerifyFull);
    for (text, expected) in SSL_MODES {
        assert_eq!(mode(&format!("postgres://a@db.example/d?sslmode={text}")), *expected);
        let with_file = mode(&format!("postgres://a@h/d?sslmode={text}&sslrootcert=/r"));
        let expected = if *text == "require" { SslMode::VerifyCa } else { *expected };
        assert_eq!(with_file, expected, "{text}");
    }
    assert_eq!(mode("postgres://a@db.example/d?ssl=true"), SslMode::Require);
    for (uri, expected) in [
        ("sslmode=on", "sslmode: must be one of disable, allow, prefer, require, verify-ca, ver"),
        ("ssl=false", "ssl: must be true"),
        ("ssl=true&sslmode=disable", "ssl: must be true"),
        ("sslmode=require&sslrootcert=system", "sslmode: must be verify-full"),
        ("sslmode=prefer&sslnegotiation=direct", "sslmode: must be at least require"),
        ("sslcert=/c", "sslcert: needs sslkey"),
        ("channel_binding=maybe", "channel_binding: must be one of"),
        ("target_session_attrs=write", "target_session_attrs: must be one of"),
        ("connect_timeout=1s", "connect_timeout: must be a whole number"),
    ] {
        let message = refusal(&format!("postgres://a@h/d?{uri}"));
        assert!(message.starts_with(&format!("uri: {expected}")), "{uri}: {message}");
    }
}

#[test]
fn a_service_adds_what_the_uri_leaves_out() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("services");
    let text = "[a]\nhost=db.example\nport=7\nuser=bob\npassword=from file\nsslmode=require\n\
                [b]\nhosts=x\n";
    fs::write(&file, text).unwrap();
    let uri = |rest: &str| format!("postgres://{rest}&servicefile={}", file.display());
    let parameters = parse(&uri("ada@/courses?service=a"));
    assert_eq!(parameters.hosts, [network("db.example", 7)]);
    assert_eq!((&*parameters.user, &*parameters.database), ("ada", "courses"));
    assert_eq!(password(&parameters).as_deref(), Some("from file"));
    assert!(refusal(&uri("ada@/d?service=c")).contains("no section"));
    let unknown = refusal(&uri("ada@/d?service=b"));
    assert_eq!(unknown, "servicefile: hosts: no such parameter (did you mean host?)");
    assert!(refusal("postgres://a@h/d?service=a").contains("needs servicefile"));
}

#[cfg(unix)]
#[test]
fn a_passfile_is_read_for_each_connection() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("passwords");
    let write = |text: &str| {
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    };
    write("h:5432:d:ada:one\nlocalhost:5432:d:ada:usual\n/run/pg:5432:d:ada:socket\n");
    let at = |host: &str| parse(&format!("postgres://ada@{host}&passfile={}", file.display()));
    let parameters = at("h/d?");
    assert_eq!(password(&parameters).as_deref(), Some("one"));
    assert_eq!(password(&at("/d?")).as_deref(), Some("usual"));
    assert_eq!(password(&at("/d?host=/tmp")).as_deref(), Some("usual"));
    assert_eq!(password(&at("/d?host=/run/pg")).as_deref(), Some("socket"));
    assert_eq!(password(&at("other/d?")), None);
    write("h:5432:d:ada:two\n");
    assert_eq!(password(&parameters).as_deref(), Some("two"));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let error = parameters.password(&parameters.hosts[0]).unwrap_err();
    assert!(error.message.starts_with("uri: passfile: group or others"), "{error}");
}

/// Encodes everything but letters and digits.
fn encoded(text: &str) -> String {
    let one = |byte: u8| match byte.is_ascii_alphanumeric() {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02x}"),
    };
    text.bytes().map(one).collect()
}

proptest! {
    #[test]
    fn no_uri_panics(rest in "([a-z0-9:/?#@&=%,.\\[\\]_-]|PARAM|\\PC){0,60}") {
        let rest = rest.replace("PARAM", "sslmode=");
        for scheme in ["postgres://", "postgresql://", ""] {
            let _ = Parameters::from_uri(&format!("{scheme}{rest}"));
        }
    }

    #[test]
    fn no_message_contains_the_password(
        password in "Pw[ -~éß]{4,12}",
        is_encoded in any::<bool>(),
        (template, is_valid) in prop::sample::select(vec![
            ("postgres://ada:PASSWORD@h/d", true),
            ("postgres:///d?user=ada&password=PASSWORD", true),
            ("postgres://ada:PASSWORD@h/d?sslmode=x", false),
            ("postgres://ada:PASSWORD@h:x/d", false),
            ("postgres://ada:PASSWORD@h/d?passwort=1", false),
            ("postgres:///d?user=ada&password=PASSWORD&port=x", false),
            ("postgres:///d?user=ada&pasword=PASSWORD", false),
            ("postgres:///d?user=ada&password=x&password=PASSWORD", false),
            ("mysql://ada:PASSWORD@h/d", false),
        ]),
    ) {
        let in_uri = if is_encoded { encoded(&password) } else { password.clone() };
        let text = match Parameters::from_uri(&template.replace("PASSWORD", &in_uri)) {
            Ok(parameters) => format!("{parameters:?}"),
            Err(error) => format!("{error} {error:?}"),
        };
        // Unless it is not encoded, and the URI says something else.
        prop_assert!(!text.contains(&password) || !is_encoded && text.contains("hosts:"), "{text}");
        if is_encoded && is_valid {
            let parameters = Parameters::from_uri(&template.replace("PASSWORD", &in_uri)).unwrap();
            prop_assert_eq!(self::password(&parameters), Some(password));
        }
    }
}
