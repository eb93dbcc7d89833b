//! What goes over the wire to `@connections`: who signs it, over which connection, how many at once.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use harness::{Answer, Function, Row, World};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::support::{AMPLE, Hub, counted, frame, index, line, log, name, totals};

/// All other tests rest on this.
#[tokio::test]
async fn nothing_that_another_key_has_signed_is_taken_here() {
    let hub = Hub::new().await;
    hub.crowd("room", 100);
    let function =
        Function::with_settings("publish", &hub.world, &[("AWS_SECRET_ACCESS_KEY", "another")]).await;
    let outcome = function.invoke(r#"{"sessions":["room"],"message":1}"#, AMPLE).await;
    assert_eq!(outcome.error()["errorType"], "internal");
    assert_eq!(hub.world.gateway.posts().len(), 0);
    let error = line(&log(&function.finish()), "failed")["error"].to_string();
    assert!(error.contains("InvalidSignatureException"), "{error}");
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_corrected_once_and_costs_no_recipient() {
    for ahead in [-600, 600] {
        let hub = Hub::new().await;
        hub.crowd("room", 100);
        hub.world.signatures.set_clock_ahead(ahead);
        for _ in 0..2 {
            assert_eq!(totals(&frame(&hub.send(&["room"], AMPLE).await)), [100, 0, 0]);
        }
        let log = hub.log();
        let seconds = line(&log, "clock corrected")["seconds_ahead"].as_i64().expect("a number");
        assert!((ahead - 2..=ahead + 2).contains(&seconds), "{seconds}");
    }
}

#[tokio::test]
async fn where_every_post_is_forbidden_the_failure_is_the_hubs_and_few_are_attempted() {
    for recipients in [1, 5, 1_000] {
        let hub = Hub::new().await;
        hub.crowd("room", recipients);
        hub.world.gateway.script(|_, _| Answer::Error(403, "AccessDeniedException"));
        let outcome = hub.send(&["room"], AMPLE).await;
        assert_eq!(outcome.error()["errorType"], "internal");
        let tried = hub.posts().keys().filter(|connection| connection.starts_with("room")).count();
        assert!((recipients.min(8)..=16).contains(&tried), "{tried} of {recipients}");
        let log = hub.log();
        let failed = line(&log, "failed");
        assert_eq!(failed["cause"], "forbidden");
        assert!(
            failed["error"].as_str().is_some_and(|error| error.contains("AccessDeniedException")),
            "{failed}"
        );
    }
}

#[tokio::test]
async fn where_one_post_is_taken_the_forbidden_ones_fail_alone() {
    let hub = Hub::new().await;
    hub.crowd("room", 100);
    hub.world.gateway.script(|connection, _| match index(connection) {
        3 => Answer::Serve,
        _ => Answer::Error(403, "ForbiddenException"),
    });
    assert_eq!(totals(&frame(&hub.send(&["room"], AMPLE).await)), [1, 0, 99]);
}

#[tokio::test]
async fn a_thousand_errors_of_the_gateway_are_no_log_lines() {
    let hub = Hub::new().await;
    hub.crowd("stadium", 1_000);
    hub.world.gateway.script(|_, before| match before {
        0 => Answer::Bare(500),
        _ => Answer::Serve,
    });
    assert_eq!(totals(&frame(&hub.send(&["stadium"], AMPLE).await)), [1_000, 0, 0]);
    let log = hub.log();
    assert_eq!(counted(&log, "Retries"), 1_000.0);
    let lines: Vec<_> =
        log.iter().filter(|line| line["level"] != "INFO" && !line["_aws"].is_object()).collect();
    assert!(lines.is_empty(), "{} lines, such as {}", lines.len(), lines[0]);
    assert_eq!(log.len(), 3, "a start, an invocation and its metrics: {log:#?}");
}

#[tokio::test]
async fn a_connection_that_answered_5xx_or_timed_out_is_not_used_again_and_a_good_one_is() {
    for trouble in [Answer::Bare(500), Answer::Bare(503), Answer::Hang, Answer::CutRead] {
        let hub = Hub::new().await;
        hub.crowd("room", 1);
        let first = trouble.clone();
        hub.world.gateway.script(move |_, before| match before {
            1 => first.clone(),
            _ => Answer::Serve,
        });
        for _ in 0..3 {
            assert_eq!(totals(&frame(&hub.send(&["room"], AMPLE).await)), [1, 0, 0]);
        }
        let peers: Vec<_> = hub.world.gateway.posts().iter().map(|post| post.peer).collect();
        let [before, troubled, again, after] = peers[..] else { panic!("{trouble:?}: {peers:?}") };
        assert_eq!((troubled, after), (before, again), "{trouble:?}: a good one serves on");
        assert_ne!(again, troubled, "{trouble:?}");
    }
}

#[tokio::test]
async fn connections_are_opened_gradually_and_then_all_are_used() {
    const ANSWER: Duration = Duration::from_millis(900);
    let hub = Hub::new().await;
    hub.crowd("stadium", 200);
    hub.world.gateway.script(|_, _| Answer::Serve.after(ANSWER));
    assert_eq!(totals(&frame(&hub.send(&["stadium"], AMPLE).await)), [200, 0, 0]);
    let posts = hub.world.gateway.posts();
    let by =
        |millis| posts.iter().filter(|post| post.at - posts[0].at < Duration::from_millis(millis)).count();
    assert!(by(80) <= 8, "{} at once", by(80));
    assert_eq!(by(850), 64, "before the first answer, all that are allowed are under way");
    assert_eq!(posts.iter().map(|post| post.peer).collect::<HashSet<_>>().len(), 64);

    // The next message finds them open.
    let began = Instant::now();
    hub.send(&["stadium"], AMPLE).await;
    let posts = hub.world.gateway.posts();
    let at_once = posts[200..].iter().filter(|post| post.at < began + ANSWER).count();
    assert_eq!(at_once, 64);
}

/// The certificate of the authority in a folder that [`certificates`] has made, as `AWS_CA_BUNDLE`.
pub(crate) fn authority(folder: &Path) -> String {
    folder.join("ca.pem").to_string_lossy().into_owned()
}

/// A folder with the certificate `server.pem` and the key `server.key` of a server `localhost`, and with `ca.pem`, the
/// authority that has signed it.
pub(crate) fn certificates(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().expect("a key can be made");
    let root = authority.self_signed(&authority_key).expect("a root signs itself");
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().expect("a key can be made");
    let server = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    let server = server.signed_by(&key, &issuer).expect("a root signs others");
    std::fs::create_dir_all(&folder).expect("cargo should have made its folder for temporary files");
    for (file, pem) in
        [("ca.pem", root.pem()), ("server.pem", server.pem()), ("server.key", key.serialize_pem())]
    {
        std::fs::write(folder.join(file), pem).expect("the folder can be written");
    }
    folder
}

#[tokio::test]
async fn posts_and_reads_go_over_tls_and_only_to_a_server_that_is_trusted() {
    let (known, unknown) = (certificates("known"), certificates("unknown"));
    let hub = Hub::new().await;
    hub.crowd("room", 100);
    let encrypted = World::start_over_tls(&known).await;
    for index in 0..100 {
        encrypted.table.put(&name("room", index), Row::aged("room", 60));
    }
    let start = async |table: &World, trusted: &Path| {
        Function::with_settings(
            "publish",
            table,
            &[("WEBSOCKET_ENDPOINT", &encrypted.gateway_url()), ("AWS_CA_BUNDLE", &authority(trusted))],
        )
        .await
    };
    let payload = r#"{"sessions":["room"],"message":1}"#;
    let function = start(&encrypted, &known).await;
    for _ in 0..2 {
        assert_eq!(totals(function.invoke(payload, AMPLE).await.response()), [100, 0, 0]);
    }
    let peers: HashSet<_> = encrypted.gateway.posts().iter().map(|post| post.peer).collect();
    assert!(peers.len() <= 64, "{} connections for 200 posts", peers.len());

    // The table is another world's, and needs no certificate.
    let function = start(&hub.world, &unknown).await;
    let outcome = function.invoke(payload, AMPLE).await;
    assert_eq!(outcome.error()["errorType"], "internal");
    assert!(outcome.took < Duration::from_secs(2), "another attempt ends no better: {:?}", outcome.took);
    let log = log(&function.finish());
    let failed = line(&log, "failed");
    assert_eq!(failed["cause"], "endpoint");
    assert!(failed["error"].as_str().is_some_and(|error| error.contains("AWS_CA_BUNDLE")), "{failed}");
    assert_eq!(encrypted.gateway.posts().len(), 200);
}
