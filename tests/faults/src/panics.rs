//! A panic is one failed invocation, told where it happened, and no more.

use std::path::Path;

use harness::{Function, World};

use crate::support::{AMPLE, line, log};

#[tokio::test]
async fn a_panic_fails_one_invocation_and_says_where_and_the_same_process_serves_the_next() {
    for panic in ["panic", "panic formatted", "panic later"] {
        let world = World::start().await;
        let function = Function::start_with(Path::new(env!("CARGO_BIN_EXE_panics")), &world, |_| ()).await;

        let outcome = function.invoke(format!("{panic:?}"), AMPLE).await;
        assert_eq!(outcome.error()["errorType"], "internal");
        for internal in ["panic", "plain", "quotes", "bounds"] {
            assert!(!outcome.error().to_string().contains(internal), "{}", outcome.error());
        }
        assert_eq!(*function.invoke("42", AMPLE).await.response(), 42);

        let log = log(&function.finish());
        let panicked = line(&log, "panicked");
        assert_eq!(panicked["level"], "ERROR");
        let place = panicked["location"].as_str().expect("a place");
        assert!(place.contains("src/bin/panics.rs:"), "{place}");
        assert!(panicked["span"]["requestId"].is_string(), "{panicked}");
        assert!(!panicked.to_string().contains(&format!("\\n{panic}")), "a text with data in it: {panicked}");
    }
}
