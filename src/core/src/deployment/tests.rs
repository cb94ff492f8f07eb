use super::*;

const SAMPLE: &str = include_str!("../../../../ca-config/ca.toml");
const GOOD: &str = "listen = \"127.0.0.1:7443\"\nstate = \"/var/lib/jit-ssh\"\n";

fn parse(text: &str) -> Result<Deployment, Diagnostics> {
    Deployment::parse(text.as_bytes())
}

/// Asserts that `GOOD` with `more` is one problem with this message.
fn assert_refused(more: &str, message: &str) {
    let problems = parse(&format!("{GOOD}{more}")).expect_err(more).0;
    assert_eq!(problems.len(), 1, "{more:?}: {problems:?}");
    assert_eq!((problems[0].file, problems[0].message.as_str()), ("ca.toml", message));
}

fn good(more: &str) -> Deployment {
    parse(&format!("{GOOD}{more}")).unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn the_shortest_file_takes_safe_defaults() {
    let deployment = good("");
    assert_eq!(deployment.listen.to_string(), "127.0.0.1:7443");
    assert_eq!(deployment.state, PathBuf::from("/var/lib/jit-ssh"));
    assert_eq!(deployment.metrics, None);
    assert_eq!(deployment.signer, SignerPlace::Child);
    assert_eq!(deployment.tls, Tls::SelfMade);
    let Limits {
        requests_per_person_per_minute,
        decisions_per_person_per_minute,
        certificates_per_person_per_minute,
        enrolments_per_enroller_per_minute,
        connections,
        streams_per_connection,
        handshake_seconds,
        message_bytes,
        watches_per_person,
    } = deployment.limits;
    let limits = [
        requests_per_person_per_minute,
        decisions_per_person_per_minute,
        certificates_per_person_per_minute,
        enrolments_per_enroller_per_minute,
        connections,
        streams_per_connection,
        handshake_seconds,
        message_bytes,
        watches_per_person,
    ];
    assert_eq!(limits.map(NonZeroU32::get), [30, 60, 120, 600, 1024, 128, 5, 262_144, 32]);
}

#[test]
fn the_sample_is_valid_with_and_without_its_examples() {
    let sample =
        SAMPLE.replace("{{listen}}", "127.0.0.1:7443").replace("{{state}}", "/var/lib/jit-ssh");
    assert_eq!(parse(&sample).unwrap(), good(""));

    let example = |line: &str| {
        let rest = line.strip_prefix("# ")?;
        (rest.starts_with('[') || rest.contains(" = ")).then(|| rest.to_owned())
    };
    let lines = sample.lines().map(|line| example(line).unwrap_or_else(|| line.to_owned()) + "\n");
    let whole = parse(&lines.collect::<String>()).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(whole.limits, Limits::default(), "the sample shows the defaults");
    assert!(matches!(whole.tls, Tls::Own { .. }) && matches!(whole.signer, SignerPlace::Socket(_)));
    assert!(whole.metrics.is_some());
}

#[test]
fn listen_and_state_are_needed() {
    for (missing, field) in [("state = \"x\"", "listen"), ("listen = \"[::]:0\"", "state")] {
        let problems = parse(missing).unwrap_err().0;
        assert_eq!(problems.len(), 1);
        assert_eq!(
            problems[0].message,
            format!("the top level of this file lacks the field `{field}`")
        );
    }
    let problems = parse("listen = \"ca.example:7443\"\nstate = \"\"\nlitsen = 1").unwrap_err().0;
    let messages: Vec<_> = problems.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "`ca.example:7443` is not an address and port",
            "this text is empty",
            "`litsen` is not a field of the top level of this file",
        ]
    );
}

#[test]
fn metrics_stay_on_the_machine() {
    for inside in ["127.0.0.1:9464", "[::1]:9464", "[::ffff:127.0.0.1]:9464"] {
        assert!(good(&format!("metrics = \"{inside}\"")).metrics.is_some());
    }
    for outside in ["0.0.0.0:9464", "[::]:9464", "10.0.0.1:9464", "[::ffff:10.0.0.1]:9464"] {
        assert_refused(
            &format!("metrics = \"{outside}\""),
            "metrics are served on a loopback address only",
        );
    }
}

#[test]
fn the_signer_is_a_child_or_at_a_socket() {
    let socket = format!("/{}", "s".repeat(106));
    assert_eq!(
        good(&format!("signer = \"{socket}\"")).signer,
        SignerPlace::Socket(socket.clone().into())
    );
    assert_refused(
        &format!("signer = \"{socket}s\""),
        "the path of a Unix socket has at most 107 bytes",
    );
    assert_refused("signer = \"\"", "this text is empty");
}

#[test]
fn tls_files_come_in_pairs() {
    let own = good("[tls]\ncertificate = \"c\"\nkey = \"k\"").tls;
    assert_eq!(own, Tls::Own { certificate: "c".into(), key: "k".into() });
    assert_eq!(good("[tls]").tls, Tls::SelfMade);
    assert_refused("[tls]\ncertificate = \"c\"", "[tls] has a `certificate` but no `key`");
    assert_refused("[tls]\nkey = \"k\"", "[tls] has a `key` but no `certificate`");
    assert_refused("[tls]\ncertificates = \"c\"", "`certificates` is not a field of [tls]");
}

#[test]
fn no_limit_is_zero() {
    for limit in [
        "requests_per_person_per_minute",
        "decisions_per_person_per_minute",
        "certificates_per_person_per_minute",
        "enrolments_per_enroller_per_minute",
        "connections",
        "streams_per_connection",
        "handshake_seconds",
        "message_bytes",
        "watches_per_person",
    ] {
        assert_refused(
            &format!("[limits]\n{limit} = 0"),
            "this number must be from 1 to 1073741824",
        );
        assert_ne!(good(&format!("[limits]\n{limit} = 1")).limits, Limits::default());
    }
    assert_refused("[limits]\nconections = 1", "`conections` is not a field of [limits]");
}

#[test]
fn a_private_key_in_the_file_is_never_shown() {
    let error =
        parse(&format!("{GOOD}tls = '''-----BEGIN PRIVATE KEY-----\nSECRET'''")).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("SECRET"));
}
